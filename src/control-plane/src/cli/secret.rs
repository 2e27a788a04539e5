//! Secrets that people type: from the terminal, without showing them, or from standard input. Never prints one.

use std::io::{self, BufRead as _};

use super::failure::Failure;

/// Where passwords come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Asked {
    /// The terminal.
    Terminal,
    /// Standard input, one a line.
    Stdin,
}

impl Asked {
    /// From standard input if the flag says so.
    pub(super) fn from_flag(stdin: bool) -> Self {
        if stdin { Self::Stdin } else { Self::Terminal }
    }

    /// Asks for a secret.
    pub(super) fn read(self, prompt: &str) -> Result<String, Failure> {
        match self {
            Self::Terminal => rpassword::prompt_password(format!("{prompt}: ")).map_err(|error| {
                Failure::Usage(format!("cannot ask on the terminal ({error}): write it to standard input with --stdin"))
            }),
            Self::Stdin => {
                let mut line = String::new();
                match io::stdin().lock().read_line(&mut line) {
                    Ok(0) => Err(Failure::Usage(format!("standard input has no line for this: {prompt}"))),
                    Ok(_) => Ok(without_end(line)),
                    Err(error) => Err(Failure::Usage(format!("cannot read standard input: {error}"))),
                }
            }
        }
    }

    /// Asks for a new secret; on the terminal twice, for what is mistyped there shows nowhere.
    pub(super) fn read_new(self, prompt: &str) -> Result<String, Failure> {
        let secret = self.read(prompt)?;
        if self == Self::Terminal && self.read("The same again")? != secret {
            return Err(Failure::Usage("the two are not the same: nothing was changed, try again".to_owned()));
        }
        Ok(secret)
    }
}

fn without_end(mut line: String) -> String {
    if line.ends_with('\n') {
        line.pop();
        if line.ends_with('\r') {
            line.pop();
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_the_line_is_cut_off() {
        for (line, secret) in [("a b \n", "a b "), ("a\r\n", "a"), ("a", "a"), ("\n", ""), ("a\n\n", "a\n")] {
            assert_eq!(without_end(line.to_owned()), secret);
        }
    }
}
