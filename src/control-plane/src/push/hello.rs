//! The first message of a stream, parsed: who opens it and what it holds. What cannot be accepted is refused with what to change.

use keygate_wire::config::is_name;
use keygate_wire::records::Position;
use keygate_wire::sync;
use keygate_wire::{BucketBits, FORMAT};
use tonic::Status;

use super::delta::Base;
use super::stream::shorten;
use super::{KnownProxy, TABLE};

pub(crate) const STALENESS_LIMIT_SECONDS: std::ops::RangeInclusive<u64> = 5..=30 * 24 * 60 * 60;

/// See [`sync::Hello`].
#[derive(Clone, Debug)]
pub(super) struct Hello {
    /// Which proxy, and how long it serves without a word.
    pub(super) proxy: KnownProxy,
    /// Which process.
    pub(super) instance: [u8; 16],
    /// Of two streams of one instance the higher one is in charge.
    pub(super) fence: u64,
    /// What it holds, if there is anything to build on.
    pub(super) base: Option<Base>,
    /// The filter's version, for people.
    pub(super) filter_version: String,
}

impl Hello {
    /// Parses a Hello.
    pub(super) fn parse(hello: sync::Hello) -> Result<Self, Status> {
        let filter_version = shorten(&hello.filter_version);
        let sync::Hello { proxy: name, instance, table, format, fence, position, bucket_bits, staleness_limit_seconds, .. } =
            hello;

        if format != FORMAT {
            return Err(Status::failed_precondition(format!(
                "the filter reads format {format}, this control plane writes {FORMAT}: install the filter of this control plane's version"
            )));
        }
        if table != TABLE {
            return Err(Status::failed_precondition(format!(
                "there is no table {table:?}: set the filter's \"table\" to {TABLE:?}"
            )));
        }
        if !is_name(&name) {
            return Err(Status::invalid_argument("the filter's \"proxy\" must be 1 to 64 characters of A-Z a-z 0-9 . _ -"));
        }
        if !STALENESS_LIMIT_SECONDS.contains(&staleness_limit_seconds) {
            let (least, most) = STALENESS_LIMIT_SECONDS.into_inner();
            return Err(Status::invalid_argument(format!("the filter's staleness limit must be {least} to {most} seconds")));
        }
        let instance = instance.try_into().map_err(|_| Status::invalid_argument("hello.instance must have 16 bytes"))?;
        let base = position.map(|position| parse_base(&position, bucket_bits)).transpose()?;
        Ok(Self { proxy: KnownProxy { name, staleness_limit_seconds }, instance, fence, base, filter_version })
    }
}

/// Parses a position that a filter sent.
pub(super) fn parse_position(position: &sync::Position) -> Result<Position, Status> {
    position.parse().ok_or_else(|| Status::invalid_argument("position.epoch must have 16 bytes"))
}

fn parse_base(position: &sync::Position, bucket_bits: u32) -> Result<Base, Status> {
    let bits = BucketBits::new(bucket_bits).ok_or_else(|| {
        let (least, most) = (BucketBits::MIN.get(), BucketBits::MAX.get());
        Status::invalid_argument(format!("hello.bucket_bits must be {least} to {most} where there is a position"))
    })?;
    Ok(Base { position: parse_position(position)?, bits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::tests::filter::hello;

    #[test]
    fn a_hello_that_cannot_be_served_is_refused_with_what_to_change() {
        assert!(Hello::parse(hello("edge-1", 1)).is_ok());
        let refusal = |change: &dyn Fn(&mut sync::Hello)| {
            let mut hello = hello("edge-1", 1);
            change(&mut hello);
            Hello::parse(hello).unwrap_err().message().to_owned()
        };
        for name in ["", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(refusal(&|hello| hello.proxy = name.to_owned()).contains("\"proxy\""), "{name}");
        }
        assert!(refusal(&|hello| hello.format += 1).contains("install the filter"));
        assert!(refusal(&|hello| hello.table = "other".to_owned()).contains("set the filter's \"table\""));
        for seconds in [0, 4, 2_592_001, u64::MAX] {
            assert!(refusal(&|hello| hello.staleness_limit_seconds = seconds).contains("5 to 2592000"));
        }
        assert!(refusal(&|hello| hello.instance.truncate(15)).contains("instance"));
        let position = |epoch: usize| Some(sync::Position { epoch: vec![0; epoch], revision: 1 });
        assert!(refusal(&|hello| hello.position = position(16)).contains("bucket_bits"));
        assert!(refusal(&|hello| (hello.position, hello.bucket_bits) = (position(15), 6)).contains("epoch"));
    }
}
