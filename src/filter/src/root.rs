//! The root context of one worker: reads the configuration, hands it to every request, and drives the synchronization by its tick.

use std::cell::RefCell;
use std::rc::Rc;

use keygate_decision::rulings::Rulings;
use keygate_decision::watch::Watch;
use keygate_decision::{Policy, ReadinessPath};
use keygate_wire::records::Names;
use keygate_wire::{FilterConfig, Source};
use proxy_wasm::traits::{Context, RootContext};

use crate::host::{self, Gauge, Level};
use crate::metrics::{self, Metrics};
use crate::shared::SharedTable;
use crate::sync::Subscription;
use crate::table::Table;
use crate::usage::{Reporter, Usage};

#[cfg(not(feature = "traps"))]
fn tick_ms() -> u32 {
    500
}
#[cfg(feature = "traps")]
use crate::traps::tick_ms;
/// At first, until there is a table: after a hot restart, requests come to the new process at once.
const FIRST_TICK_MS: u32 = 20;
/// No longer than so many ticks: without a control plane there will be no table for long.
const FIRST_TICKS: u32 = 250;

/// What the requests of one worker share: the rules, and the table they are judged by.
pub(crate) struct Plugin {
    pub(crate) policy: Policy,
    /// The headers to look at.
    pub(crate) watch: Watch,
    /// The headers that may have to go.
    pub(crate) removed: Watch,
    pub(crate) rulings: RefCell<Rulings>,
    pub(crate) readiness: Option<ReadinessPath>,
    pub(crate) table: Table,
    pub(crate) metrics: Metrics,
    pub(crate) usage: Rc<Usage>,
}

/// See the module.
pub(crate) struct Root {
    /// `None` while nothing usable is configured: then everything is denied.
    plugin: Option<Rc<Plugin>>,
    subscription: Option<Subscription>,
    reporter: Option<Reporter>,
    first_ticks: u32,
    #[cfg(feature = "traps")]
    born_ns: u64,
}

impl Root {
    pub(crate) fn new() -> Self {
        Self {
            plugin: None,
            subscription: None,
            reporter: None,
            first_ticks: FIRST_TICKS,
            #[cfg(feature = "traps")]
            born_ns: host::monotonic_ns().unwrap_or(0),
        }
    }

    /// What its requests are judged by from now on; `None` denies them all.
    pub(crate) fn plugin(&self) -> Option<Rc<Plugin>> {
        self.plugin.clone()
    }

    fn configure(&mut self) {
        match read_configuration() {
            Ok(config) => {
                let metrics = Metrics::define(&config.table);
                let table = self.take_source(&config.table, config.source, &metrics);
                let in_shadow = config.policy.has_shadow();
                if in_shadow {
                    host::log(Level::Warn, "keygate: shadow mode is on, requests pass that would be refused");
                }
                metrics.show_shadow(in_shadow);
                let usage = self.reporter.as_ref().map_or_else(|| Rc::new(Usage::unwanted()), Reporter::usage);
                let (watch, removed) = (Watch::of(&config.policy), Watch::of_removed(&config.policy));
                let (policy, rulings, readiness) = (config.policy, RefCell::default(), config.readiness);
                self.plugin = Some(Rc::new(Plugin { policy, watch, removed, rulings, readiness, table, metrics, usage }));
            }
            Err(problem) => {
                host::log(Level::Error, &format!("keygate: configuration refused, every request is denied: {problem}"));
                self.subscription = None;
                self.reporter = None;
                self.plugin = None;
            }
        }
        set_tick_period(FIRST_TICK_MS);
        // The subscription waits for the first tick: a root context that is made only to try the configuration must not take the lease.
        self.refresh_clock();
    }

    /// Where the table comes from: only one that is pushed needs a subscription.
    fn take_source(&mut self, name: &str, source: Source, metrics: &Metrics) -> Table {
        match source {
            Source::ControlPlane(from) => {
                let (names, detector) = (Names::new(name), define_detector(name));
                let table = SharedTable::new(names.clone(), detector, from.staleness_limit_seconds);
                self.reporter = Reporter::new(name, &from);
                self.subscription = Subscription::new(name, from, names, detector, metrics.keys);
                Table::Shared(table)
            }
            Source::Embedded { table, revision } => {
                self.subscription = None;
                self.reporter = None;
                metrics::set(metrics.keys, table.len() as u64);
                Table::Embedded { table, revision }
            }
        }
    }

    fn refresh_clock(&self) {
        if let (Some(plugin), Ok(now_ns)) = (&self.plugin, host::monotonic_ns()) {
            plugin.table.refresh_clock();
            if let Some((revision, age_seconds)) = plugin.table.state(now_ns) {
                plugin.metrics.show_table(revision, age_seconds);
            }
        }
    }

    fn tick(&mut self) {
        let Ok(now_ns) = host::monotonic_ns() else { return };
        if let Some(subscription) = &mut self.subscription {
            subscription.tick(now_ns);
        }
        if let Some(reporter) = &mut self.reporter {
            reporter.tick(now_ns);
        }
        self.refresh_clock();
        #[cfg(feature = "traps")]
        crate::traps::at_tick(self.born_ns, self.subscription.as_ref().is_some_and(Subscription::leads));
        self.slow_down(now_ns);
    }

    fn call_answered(&mut self, token: u32, status: u32) {
        if let Some(reporter) = &mut self.reporter {
            reporter.answered(token, status);
        }
    }

    fn slow_down(&mut self, now_ns: u64) {
        if self.first_ticks == 0 {
            return;
        }
        let has_table = self.plugin.as_ref().is_some_and(|plugin| plugin.table.state(now_ns).is_some());
        self.first_ticks = if has_table { 0 } else { self.first_ticks - 1 };
        if self.first_ticks == 0 {
            set_tick_period(tick_ms());
        }
    }
}

fn set_tick_period(milliseconds: u32) {
    if let Err(error) = host::set_tick_period(milliseconds) {
        host::log(Level::Error, &format!("keygate: no tick (host status {}), the table will grow stale", error.0));
    }
}

fn read_configuration() -> Result<FilterConfig, String> {
    let bytes = host::configuration().map_err(|error| format!("it could not be read (host status {})", error.0))?;
    FilterConfig::parse(&bytes).map_err(|error| error.to_string())
}

/// The change detector. Its name carries table and `vm_id`, because a gauge is shared beyond the `vm_id` while shared data is not.
fn define_detector(table: &str) -> Option<Gauge> {
    let vm_id = host::property("plugin_vm_id").unwrap_or_default();
    match Gauge::define(&format!("keygate.change.{table}.{vm_id}")) {
        Ok(gauge) => Some(gauge),
        Err(error) => {
            host::log(Level::Warn, &format!("keygate: no change detector (host status {}), nothing is cached", error.0));
            None
        }
    }
}

impl Context for Root {
    fn on_done(&mut self) -> bool {
        if let Some(subscription) = &mut self.subscription {
            subscription.stop();
        }
        true
    }

    // The host numbers calls and streams alike, so that each knows its own; and it ends a call that was answered without a word.
    fn on_grpc_stream_message(&mut self, token: u32, size: usize) {
        if let Some(subscription) = &mut self.subscription {
            subscription.receive(token, size);
        }
        self.call_answered(token, 0);
    }

    fn on_grpc_stream_close(&mut self, token: u32, status: u32) {
        if let Some(subscription) = &mut self.subscription {
            subscription.closed(token, status);
        }
        self.call_answered(token, status);
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        self.configure();
        true
    }

    fn on_tick(&mut self) {
        self.tick();
    }
}
