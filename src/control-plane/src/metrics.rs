//! What those who watch are shown, in the text format of OpenMetrics, which Prometheus reads. It gathers what others count and changes
//! nothing. Labels are few and known beforehand: names of proxies, templates of routes; never what a caller chose.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric as _, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::push::{ProxyStatus, Publisher};
use crate::store::Store;

/// See the module; clones show the same.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Requests,
}

/// How long requests took, in seconds.
type Requests = Family<Request, Histogram, fn() -> Histogram>;

/// What is told of a request that was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Request {
    /// Its method, `other` for one that no route has.
    pub(crate) method: &'static str,
    /// The route's template, `none` where there is no route.
    pub(crate) route: String,
    /// The answer's.
    pub(crate) status: u16,
}

impl Metrics {
    /// Shows what these count.
    pub(crate) fn new(store: &Store, publisher: &Publisher) -> Self {
        let mut all = Registry::with_prefix("keygate");
        all.register("build", "Which keygate this is", Info::new([("version", env!("CARGO_PKG_VERSION"))]));

        let storage = store.counts();
        all.register("changes", "Changes that were committed", storage.changes.clone());
        let help = "How long a batch of changes took, its sync to disk included";
        all.register_with_unit("commit_duration", help, Unit::Seconds, storage.commit_seconds.clone());
        all.register("failed_commits", "Batches of changes that were not committed", storage.failed_commits.clone());
        all.register("trimmed_changes", "Rows of the history that were trimmed", storage.trimmed_changes.clone());
        all.register("trimmed_audit_records", "Audit records that were trimmed", storage.trimmed_audit.clone());

        let traffic = publisher.traffic();
        all.register("streams_opened", "Streams of proxies that were accepted", traffic.streams_opened.clone());
        all.register("streams_refused", "Streams of proxies that were refused", traffic.streams_refused.clone());
        all.register("snapshots_sent", "Snapshots that were begun", traffic.snapshots.clone());
        all.register_with_unit("snapshots_sent", "Their messages", Unit::Bytes, traffic.snapshot_bytes.clone());
        all.register("deltas_sent", "Deltas that were begun", traffic.deltas.clone());
        all.register_with_unit("deltas_sent", "Their messages", Unit::Bytes, traffic.delta_bytes.clone());
        all.register("messages_refused", "Messages that filters refused", traffic.refusals.clone());
        all.register("usage_reports", "Reports of keys' use that were taken in", traffic.usage_reports.clone());
        all.register("usage_reports_refused", "Those that were not", traffic.usage_reports_refused.clone());

        let requests = Requests::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 15)));
        let help = "How long requests of the API took from their last byte on, those that wait for proxies included";
        all.register_with_unit("request_duration", help, Unit::Seconds, requests.clone());
        all.register_collector(Box::new(Now { store: store.clone(), publisher: publisher.clone() }));
        Self(Arc::new(Inner { registry: all, requests }))
    }

    /// Counts a request.
    pub(crate) fn answered(&self, request: &Request, took: Duration) {
        self.0.requests.get_or_create(request).observe(took.as_secs_f64());
    }

    /// Everything as text, of the type [`CONTENT_TYPE`].
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

/// What [`Metrics::text`] is.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is so at the moment, looked up when somebody asks.
struct Now {
    store: Store,
    publisher: Publisher,
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (proxies, (position, keys)) = (self.publisher.proxies(), self.publisher.extent());
        let count = |which: fn(&ProxyStatus) -> bool| proxies.iter().filter(|proxy| which(proxy)).count() as u64;
        for (name, help, value) in [
            ("storage_failing", "1 while changes cannot be committed", u64::from(self.store.is_failing())),
            ("table_revision", "The newest revision of the table", position.revision),
            ("table_keys", "How many keys may pass", keys),
            ("proxies", "Proxies that are known", count(|_| true)),
            ("proxies_connected", "Proxies that have a stream", count(|proxy| proxy.connected)),
            ("proxies_closed", "Proxies that have been away for so long that they answer 503", count(|proxy| proxy.closed)),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let mut each = |name, help, value: fn(&ProxyStatus) -> Option<f64>| by_proxy(&mut encoder, &proxies, name, help, value);
        each("proxy_connected", "Whether the proxy has a stream", |proxy| Some(f64::from(u8::from(proxy.connected))))?;
        each("proxy_closed", "Whether the proxy certainly answers 503", |proxy| Some(f64::from(u8::from(proxy.closed))))?;
        each("proxy_acknowledged_revision", "The newest revision that the proxy has in force, since this start", |proxy| {
            proxy.acknowledged.map(|revision| revision as f64)
        })?;
        each("proxy_last_heard_timestamp_seconds", "When the proxy last said anything, since this start", |proxy| {
            let since = proxy.last_heard?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            Some(since.as_secs_f64())
        })?;
        let help = "For how long the oldest revision has been published that the proxy has not acknowledged";
        each("proxy_lag_seconds", help, |proxy| Some(proxy.lag.as_secs_f64()))?;
        each("proxy_quarantined", "Whether the proxy refuses to try a message over which workers died", |proxy| {
            Some(f64::from(u8::from(proxy.quarantined.is_some())))
        })
    }
}

/// A gauge with a value for each proxy that has one.
fn by_proxy<T: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    proxies: &[ProxyStatus],
    name: &str,
    help: &str,
    value: fn(&ProxyStatus) -> Option<T>,
) -> fmt::Result {
    let mut values = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for proxy in proxies {
        if let Some(value) = value(proxy) {
            values.encode_family(&[("proxy", proxy.name.as_str())])?.encode_gauge(&value)?;
        }
    }
    Ok(())
}
