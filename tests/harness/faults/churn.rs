//! One client that changes keys at random, and keeps the ledger of what must come of it.

use anyhow::Result;

use crate::hostile::Random;
use crate::{Api, Done, Key, Ledger, Verdict};

/// Of the keys that a client has, so many are asked with all the time; and so many of those that it had last.
const WATCHED: usize = 20;
const WATCHED_GONE: usize = 5;
/// One in so many changes is waited for.
const WAITED: usize = 6;
/// Long enough for a stream that was just cut.
const WAIT_SECONDS: u64 = 30;

/// See the module.
pub struct Churn {
    api: Api,
    ledger: Ledger,
    random: Random,
    /// About so many keys exist at a time.
    keys_each: usize,
    keys: Vec<Held>,
    /// Those that are gone.
    deleted: Vec<Held>,
    created: usize,
}

struct Held {
    key: Key,
    active: bool,
    watched: bool,
}

impl Churn {
    /// A client without keys.
    pub(super) fn new(api: Api, ledger: Ledger, seed: u64, keys_each: usize) -> Self {
        Self { api, ledger, random: Random::new(seed), keys_each, keys: Vec::new(), deleted: Vec::new(), created: 0 }
    }

    /// Makes one change. Some of them it waits for until every proxy has acknowledged them.
    pub async fn step(&mut self) -> Result<()> {
        let wait = if self.random.one_in(WAITED) { WAIT_SECONDS } else { 0 };
        let done = self.change(wait).await?;
        // Whoever has acknowledged one has acknowledged all that came before it.
        if done == Done::Everywhere {
            self.settle();
        }
        Ok(())
    }

    /// All keys that it ever had.
    pub fn into_keys(self) -> Vec<Key> {
        self.keys.into_iter().chain(self.deleted).map(|held| held.key).collect()
    }

    async fn change(&mut self, wait: u64) -> Result<Done> {
        let room = self.keys.len() < self.keys_each;
        if self.keys.is_empty() || room && self.random.one_in(3) {
            return self.create(wait).await;
        }
        let index = self.random.below(self.keys.len());
        let delete = self.random.one_in(3);
        let Some(held) = self.keys.get_mut(index) else { return Ok(Done::Everywhere) };
        if held.watched {
            self.ledger.expect(&held.key, Verdict::Either);
        }
        match (held.active, delete) {
            (true, _) => {
                held.active = false;
                self.api.key_action(&held.key, "deactivate", wait).await
            }
            (false, false) => {
                held.active = true;
                self.api.key_action(&held.key, "activate", wait).await
            }
            (false, true) => {
                let held = self.keys.swap_remove(index);
                let done = self.api.delete_key(&held.key, wait).await;
                self.deleted.push(held);
                done
            }
        }
    }

    async fn create(&mut self, wait: u64) -> Result<Done> {
        self.created += 1;
        let (key, done) = self.api.create_key("1a5", &format!("churn-{}", self.created), wait).await?;
        let watched = self.keys.iter().filter(|held| held.watched).count() < WATCHED;
        if watched {
            self.ledger.expect(&key, Verdict::Either);
        }
        self.keys.push(Held { key, active: true, watched });
        Ok(done)
    }

    /// Everything it did is in force.
    fn settle(&mut self) {
        for held in self.keys.iter().chain(&self.deleted).filter(|held| held.watched) {
            self.ledger.expect(&held.key, if held.active { Verdict::Pass } else { Verdict::Refuse });
        }
        for held in self.deleted.iter_mut().filter(|held| held.watched).rev().skip(WATCHED_GONE) {
            self.ledger.forget(&held.key);
            held.watched = false;
        }
    }
}
