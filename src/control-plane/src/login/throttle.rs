//! How fast passwords may be guessed. Owns who waits for how long; it checks no password.
//!
//! What is delayed is a *pair*, an account and the address that an attempt comes from, and nothing else: five wrong passwords are
//! free, then each makes the pair wait twice as long, up to a minute. What was refused for coming too early is not looked at and
//! counts for nothing, so nobody can prolong a delay, and an attempt is possible every minute for ever.
//!
//! Two more counts make it harder without taking that away:
//! - *An account* that many addresses guess at (50 wrong ones) leaves each of them one free attempt instead of five. Whoever the
//!   account belongs to still has that one from wherever they are.
//! - *An address* that guesses at many accounts (50 wrong ones) waits as a whole, up to half a minute, except for pairs that logged
//!   in from there before. Others behind the same address who never did are kept waiting with it while the guessing lasts; from elsewhere, and with
//!   keys and with logins that they have, they are not. A proxy before the control plane is one such address: name it in the setting
//!   `trusted-proxies`, so that each of its clients counts for itself.
//!
//! Every count is forgotten after a quarter of an hour without a wrong password. Names that no account has are counted alike: who is
//! made to wait learns nothing. Memory is bounded: when a table is full, the half that was quiet longest is forgotten.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keygate_decision::UnixSeconds;

const FREE_PER_PAIR: u32 = 5;
const LONGEST_PER_PAIR_SECONDS: u64 = 60;
const FREE_PER_SOURCE: u32 = 50;
const LONGEST_PER_SOURCE_SECONDS: u64 = 30;
/// An account with so many wrong passwords from all addresses is being guessed at.
const GUESSED_AT: u32 = 50;
const FORGOTTEN_SECONDS: u64 = 15 * 60;
/// Entries in each of the tables.
const CAPACITY: usize = 10_000;

/// Where an attempt comes from: an address, or all addresses of one IPv6 network that its user chooses from at will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source(IpAddr);

impl Source {
    /// The source of an address.
    pub(crate) fn of(address: IpAddr) -> Self {
        const NETWORK: u128 = !(u64::MAX as u128);
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
            IpAddr::V4(address) => address.into(),
        })
    }
}

/// It is too early for another attempt; whole seconds, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) seconds: u64,
}

/// Counts wrong passwords; clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct Throttle(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
struct Tables {
    pairs: Table<(String, Source)>,
    accounts: Table<String>,
    sources: Table<Source>,
    /// Pairs that had the right password; the count means nothing.
    proved: Table<(String, Source)>,
}

impl Throttle {
    /// A throttle that has counted nothing.
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Lets an attempt at an account of this name be checked, or says for how long to wait. It counts as wrong from now on, until
    /// [`Self::proved`] or [`Self::unchecked`]: otherwise many at once would all be free.
    pub(crate) fn attempt(&self, name: &str, source: Source, now: UnixSeconds) -> Result<(), Wait> {
        let mut tables = self.tables();
        let name = name.to_lowercase();
        let pair = (name.clone(), source);
        let free = if tables.accounts.wrong(&name, now) >= GUESSED_AT { 1 } else { FREE_PER_PAIR };
        let of_pair = tables.pairs.delay(&pair, now, free, LONGEST_PER_PAIR_SECONDS);
        let known = tables.proved.counts.contains_key(&pair);
        let of_source = if known { 0 } else { tables.sources.delay(&source, now, FREE_PER_SOURCE, LONGEST_PER_SOURCE_SECONDS) };
        match of_pair.max(of_source) {
            0 => {
                tables.pairs.count(pair, now);
                tables.accounts.count(name, now);
                // Who is known there delays nobody else: the pair's own delay is enough.
                if !known {
                    tables.sources.count(source, now);
                }
                Ok(())
            }
            seconds => Err(Wait { seconds }),
        }
    }

    /// The attempt that was let through had the right password. Only this attempt is taken back from the account's and the source's
    /// counts: who has one account must not make the guessing at others look new.
    pub(crate) fn proved(&self, name: &str, source: Source, now: UnixSeconds) {
        let mut tables = self.tables();
        let name = name.to_lowercase();
        let pair = (name.clone(), source);
        let at = tables.pairs.counts.remove(&pair).map(|count| count.last);
        tables.accounts.take_back(&name, at);
        if !tables.proved.counts.contains_key(&pair) {
            tables.sources.take_back(&source, at);
        }
        tables.proved.count(pair, now);
    }

    /// The attempt that was let through was not checked after all: it told nobody anything, and counts for nothing.
    pub(crate) fn unchecked(&self, name: &str, source: Source) {
        let mut tables = self.tables();
        let name = name.to_lowercase();
        let pair = (name.clone(), source);
        let at = tables.pairs.counts.get(&pair).map(|count| count.last);
        tables.pairs.take_back(&pair, at);
        tables.accounts.take_back(&name, at);
        if !tables.proved.counts.contains_key(&pair) {
            tables.sources.take_back(&source, at);
        }
    }

    /// A count is whole between any two statements, so a panic elsewhere leaves nothing half done.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Table<K> {
    counts: HashMap<K, Count>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { counts: HashMap::new() }
    }
}

#[derive(Clone, Copy, Debug)]
struct Count {
    wrong: u32,
    last: UnixSeconds,
    /// What `last` was before: it is again when the last one is taken back.
    former: UnixSeconds,
}

impl<K: Hash + Eq> Table<K> {
    /// How many wrong passwords are remembered. Those of a time that is not yet come, because the clock was set back, are of now: or they
    /// would be remembered, and have to be waited for, until it has come.
    fn wrong(&mut self, key: &K, now: UnixSeconds) -> u32 {
        if let Some(count) = self.counts.get_mut(key) {
            count.last = count.last.min(now);
        }
        let remembered = self.counts.get(key).filter(|count| now.0.saturating_sub(count.last.0) < FORGOTTEN_SECONDS);
        remembered.map_or(0, |count| count.wrong)
    }

    /// For how long to wait: twice as long for each wrong one beyond the free ones, counted from the last one.
    fn delay(&mut self, key: &K, now: UnixSeconds, free: u32, longest_seconds: u64) -> u64 {
        let Some(beyond) = self.wrong(key, now).checked_sub(free) else { return 0 };
        let whole = 1_u64.checked_shl(beyond).unwrap_or(longest_seconds).min(longest_seconds);
        let last = self.counts.get(key).map_or(now, |count| count.last);
        whole.saturating_sub(now.0.saturating_sub(last.0))
    }

    fn count(&mut self, key: K, now: UnixSeconds) {
        let wrong = self.wrong(&key, now).saturating_add(1);
        if self.counts.len() >= CAPACITY && !self.counts.contains_key(&key) {
            self.forget_half();
        }
        let former = self.counts.get(&key).map_or(now, |count| count.last);
        self.counts.insert(key, Count { wrong, last: now, former });
    }

    /// Takes back an attempt of this time: it delays nothing and keeps nothing from being forgotten. If another one has come since,
    /// the delay is counted from that one.
    fn take_back(&mut self, key: &K, at: Option<UnixSeconds>) {
        let Some(count) = self.counts.get_mut(key) else { return };
        count.wrong = count.wrong.saturating_sub(1);
        if count.wrong == 0 {
            self.counts.remove(key);
        } else if at == Some(count.last) {
            count.last = count.former;
        }
    }

    /// Those of the same second go or stay as they come, so that many in one second cannot fill it up.
    fn forget_half(&mut self) {
        let mut times: Vec<u64> = self.counts.values().map(|count| count.last.0).collect();
        let half = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(half);
        let median = *median;
        let mut room = half;
        self.counts.retain(|_, count| {
            let stays = count.last.0 >= median && room > 0;
            room -= usize::from(stays);
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_800_000_000;

    fn source(last: u8) -> Source {
        Source::of(IpAddr::from([192, 0, 2, last]))
    }

    fn at(seconds: u64) -> UnixSeconds {
        UnixSeconds(START + seconds)
    }

    /// Attempts until one must wait: how many there were, and for how long it must.
    fn free(throttle: &Throttle, name: &str, source: Source, now: UnixSeconds) -> (u32, u64) {
        for attempts in 0..1000 {
            if let Err(wait) = throttle.attempt(name, source, now) {
                return (attempts, wait.seconds);
            }
        }
        panic!("nobody waits");
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_wait_until_it_has_caught_up() {
        const DAY: u64 = 24 * 60 * 60;
        let throttle = Throttle::new();
        let (_, wait) = free(&throttle, "alice", source(1), at(DAY));
        for number in 0..FREE_PER_SOURCE + 10 {
            let _ = throttle.attempt(&format!("user-{number}"), source(1), at(DAY));
        }
        // Who asks learns for how long, and that time is enough.
        let again = throttle.attempt("alice", source(1), at(0)).unwrap_err().seconds;
        assert!((wait..=LONGEST_PER_SOURCE_SECONDS).contains(&again), "{again}");
        assert!(throttle.attempt("alice", source(1), at(again)).is_ok());
        let other = throttle.attempt("bob", source(1), at(again)).map_or_else(|wait| wait.seconds, |()| 0);
        assert!(throttle.attempt("bob", source(1), at(again + other)).is_ok());
    }

    #[test]
    fn delays_of_a_pair_double_to_a_minute_and_are_never_prolonged() {
        let throttle = Throttle::new();
        let mut now = 0;
        assert_eq!(free(&throttle, "alice", source(1), at(now)), (5, 1));
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            assert_eq!(throttle.attempt("ALICE", source(1), at(now)), Err(Wait { seconds }));
            assert_eq!(
                throttle.attempt("alice", source(1), at(now + seconds - 1)),
                Err(Wait { seconds: 1 }),
                "what is refused is not counted"
            );
            now += seconds;
            assert_eq!(throttle.attempt("alice", source(1), at(now)), Ok(()));
        }
        assert_eq!(throttle.attempt("bob", source(1), at(now)), Ok(()), "another account");
        assert_eq!(throttle.attempt("alice", source(2), at(now)), Ok(()), "another address");
        assert_eq!(free(&throttle, "alice", source(1), at(now + FORGOTTEN_SECONDS)).0, 5, "forgotten after a quiet while");
    }

    #[test]
    fn the_right_password_ends_the_delays_of_its_pair_alone() {
        let throttle = Throttle::new();
        for name in ["alice", "bob"] {
            assert_eq!(free(&throttle, name, source(1), at(0)).0, 5);
        }
        assert_eq!(throttle.attempt("alice", source(1), at(1)), Ok(()));
        throttle.proved("alice", source(1), at(1));
        assert_eq!(free(&throttle, "alice", source(1), at(1)).0, 5);
        assert!(throttle.attempt("bob", source(1), at(0)).is_err());
    }

    #[test]
    fn what_was_not_checked_after_all_counts_for_nothing() {
        let throttle = Throttle::new();
        for _ in 0..100 {
            assert_eq!(throttle.attempt("alice", source(1), at(0)), Ok(()));
            throttle.unchecked("ALICE", source(1));
        }
        assert_eq!(free(&throttle, "alice", source(1), at(0)).0, 5);
        throttle.unchecked("alice", source(1));
        assert_eq!(throttle.attempt("alice", source(1), at(0)), Ok(()), "only that one attempt is taken back");
        assert!(throttle.attempt("alice", source(1), at(0)).is_err());
    }

    #[test]
    fn what_is_taken_back_delays_nobody_and_is_not_remembered() {
        let throttle = Throttle::new();
        for account in 0..50 {
            assert_eq!(throttle.attempt(&format!("user{account}"), source(1), at(0)), Ok(()));
        }
        assert_eq!(throttle.attempt("user50", source(1), at(0)), Err(Wait { seconds: 1 }));
        assert_eq!(throttle.attempt("olga", source(1), at(1)), Ok(()));
        throttle.proved("olga", source(1), at(1));
        assert_eq!(throttle.attempt("user50", source(1), at(1)), Ok(()), "the right password delays nobody");
        throttle.unchecked("user50", source(1));
        for name in ["olga", "user50"] {
            assert!(!throttle.tables().accounts.counts.contains_key(name), "{name}");
        }
        assert_eq!(throttle.attempt("user51", source(1), at(1)), Ok(()), "nor does what was not checked");
        assert_eq!(throttle.attempt("user52", source(1), at(1)), Err(Wait { seconds: 2 }), "a wrong one does");

        // The wrong one that came since delays all the same.
        assert_eq!(throttle.attempt("user52", source(1), at(3)), Ok(()));
        assert_eq!(throttle.attempt("user53", source(1), at(7)), Ok(()));
        throttle.unchecked("user52", source(1));
        assert_eq!(throttle.attempt("user54", source(1), at(7)), Err(Wait { seconds: 4 }));

        // What is remembered is not remembered for longer.
        assert_eq!(free(&throttle, "alice", source(2), at(0)).0, 5);
        assert_eq!(throttle.attempt("alice", source(2), at(600)), Ok(()));
        throttle.unchecked("alice", source(2));
        assert_eq!(free(&throttle, "alice", source(2), at(FORGOTTEN_SECONDS)).0, 5);
    }

    #[test]
    fn an_account_guessed_at_from_everywhere_can_still_be_entered_from_anywhere() {
        let throttle = Throttle::new();
        for last in 0..u8::MAX {
            for attempt in 0..5 {
                let admitted = throttle.attempt("alice", source(last), at(0)).is_ok();
                assert_eq!(admitted, last < 10 || attempt == 0, "{last} {attempt}");
            }
        }
        // The owner comes from somewhere new, and mistypes once.
        let home = Source::of(IpAddr::from([198, 51, 100, 1]));
        assert_eq!(throttle.attempt("alice", home, at(1)), Ok(()));
        assert_eq!(throttle.attempt("alice", home, at(1)), Err(Wait { seconds: 1 }));
        assert_eq!(throttle.attempt("alice", home, at(2)), Ok(()));
        throttle.proved("alice", home, at(2));
        assert_eq!(throttle.attempt("alice", home, at(2)), Ok(()));
    }

    #[test]
    fn an_address_that_tries_many_accounts_waits_but_not_those_who_were_there_before() {
        let throttle = Throttle::new();
        assert_eq!(throttle.attempt("olga", source(1), at(0)), Ok(()));
        throttle.proved("olga", source(1), at(0));
        for account in 0..50 {
            assert_eq!(throttle.attempt(&format!("user{account}"), source(1), at(0)), Ok(()));
        }
        assert_eq!(throttle.attempt("user50", source(1), at(0)), Err(Wait { seconds: 1 }));
        assert_eq!(throttle.attempt("olga", source(1), at(0)), Ok(()));
        assert_eq!(throttle.attempt("user50", source(2), at(0)), Ok(()));
        let mut now = 1;
        for attempt in 0..20 {
            // Whoever guesses has an account of their own, too, and that does not help.
            let _ = throttle.attempt("olga", source(1), at(now));
            throttle.proved("olga", source(1), at(now));
            let waits = throttle.attempt(&format!("other{attempt}"), source(1), at(now)).err().map_or(0, |wait| wait.seconds);
            assert!(waits <= LONGEST_PER_SOURCE_SECONDS);
            now += waits;
        }
        assert!(throttle.attempt("one more", source(1), at(now)).is_ok());
        assert_eq!(throttle.attempt("one more", source(1), at(now)), Err(Wait { seconds: LONGEST_PER_SOURCE_SECONDS }));
    }

    #[test]
    fn memory_is_bounded_and_what_happened_last_is_remembered() {
        let throttle = Throttle::new();
        for (number, last) in (0..40_000_u32).zip((0..=u8::MAX).cycle()) {
            let address = Source::of(IpAddr::from([10, last, number.to_be_bytes()[2], number.to_be_bytes()[3]]));
            let _ = throttle.attempt(&format!("user{number}"), address, at(u64::from(number) / 1000));
        }
        assert_eq!(free(&throttle, "alice", source(1), at(40)).0, 5);
        let mut tables = throttle.tables();
        for (table, entries) in
            [tables.pairs.counts.len(), tables.accounts.counts.len(), tables.sources.counts.len()].iter().enumerate()
        {
            assert!((1..=CAPACITY).contains(entries), "{table}: {entries}");
        }
        assert_eq!(tables.pairs.wrong(&("alice".to_owned(), source(1)), at(40)), 5);
    }

    #[test]
    fn one_who_has_a_network_of_addresses_is_one_source() {
        let of = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::2"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), source(1));
    }
}
