//! Envoy's functions, declared by ourselves. The SDK's panic on statuses they do not expect and on header values that are not UTF-8;
//! these return every failure as a value.
//!
//! Source: proxy-wasm ABI 0.2.1, and WASI snapshot preview 1 for the monotonic clock and randomness.
#![expect(unsafe_code, reason = "the only place where the host is called and its memory taken over")]

use keygate_decision::Header;

/// A host call failed with this status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostError(pub(crate) u32);

impl HostError {
    /// What the host gave cannot be read: no status of the host's own.
    pub(crate) const UNREADABLE: Self = Self(u32::MAX);
}

pub(crate) type Result<T> = std::result::Result<T, HostError>;

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
/// The shared-data value was changed since it was read.
pub(crate) const CAS_MISMATCH: HostError = HostError(8);

const REQUEST_HEADERS: u32 = 0;
const REQUEST_TRAILERS: u32 = 1;
const GRPC_RECEIVE_BUFFER: u32 = 5;
const PLUGIN_CONFIGURATION: u32 = 7;
const COUNTER: u32 = 0;
const GAUGE: u32 = 1;
const MONOTONIC: u32 = 1;
/// No CAS of any existing value: the write succeeds only where there is none.
const CREATE: u32 = u32::MAX;
/// Envoy picks the gRPC status that fits the HTTP status.
const NO_GRPC_STATUS: i32 = -1;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, len: usize) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_get_property(path: *const u8, path_len: usize, value: *mut *mut u8, value_len: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_len: usize, value: *const u8, value_len: usize) -> u32;
    fn proxy_get_buffer_bytes(kind: u32, start: usize, max: usize, value: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_get_header_map_pairs(kind: u32, value: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_add_header_map_value(kind: u32, name: *const u8, name_len: usize, value: *const u8, len: usize) -> u32;
    fn proxy_replace_header_map_value(kind: u32, name: *const u8, name_len: usize, value: *const u8, len: usize) -> u32;
    fn proxy_remove_header_map_value(kind: u32, name: *const u8, name_len: usize) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_len: usize,
        body: *const u8,
        body_len: usize,
        headers: *const u8,
        headers_len: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_get_shared_data(name: *const u8, name_len: usize, value: *mut *mut u8, len: *mut usize, cas: *mut u32) -> u32;
    fn proxy_set_shared_data(name: *const u8, name_len: usize, value: *const u8, len: usize, cas: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_len: usize, id: *mut u32) -> u32;
    fn proxy_get_metric(id: u32, value: *mut u64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_get_status(code: *mut u32, message: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_grpc_stream(
        service: *const u8,
        service_len: usize,
        name: *const u8,
        name_len: usize,
        method: *const u8,
        method_len: usize,
        metadata: *const u8,
        metadata_len: usize,
        token: *mut u32,
    ) -> u32;
    fn proxy_grpc_call(
        service: *const u8,
        service_len: usize,
        name: *const u8,
        name_len: usize,
        method: *const u8,
        method_len: usize,
        metadata: *const u8,
        metadata_len: usize,
        message: *const u8,
        message_len: usize,
        timeout_ms: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_grpc_send(token: u32, message: *const u8, len: usize, end_stream: u32) -> u32;
    fn proxy_grpc_cancel(token: u32) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    fn random_get(buffer: *mut u8, len: usize) -> u32;
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    Info = 2,
    Warn = 3,
    Error = 4,
}

/// Writes to Envoy's log. Must never be given a header's value.
pub(crate) fn log(level: Level, message: &str) {
    // A line that cannot be logged has nowhere else to go.
    let _ = unsafe { proxy_log(level as u32, message.as_ptr(), message.len()) };
}

/// Asks for a tick every so many milliseconds.
pub(crate) fn set_tick_period(milliseconds: u32) -> Result<()> {
    check(unsafe { proxy_set_tick_period_milliseconds(milliseconds) })
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn wall_clock_ms() -> Result<u64> {
    let mut nanoseconds = 0;
    check(unsafe { proxy_get_current_time_nanoseconds(&mut nanoseconds) })?;
    Ok(nanoseconds / 1_000_000)
}

/// The monotonic clock, in nanoseconds; the same for every worker of the process.
pub(crate) fn monotonic_ns() -> Result<u64> {
    let mut nanoseconds = 0;
    check(unsafe { clock_time_get(MONOTONIC, 1, &mut nanoseconds) })?;
    Ok(nanoseconds)
}

/// Random bytes from the host's generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    check(unsafe { random_get(bytes.as_mut_ptr(), N) })?;
    Ok(bytes)
}

/// One of Envoy's attributes as text; `None` where it is not there.
pub(crate) fn property(name: &str) -> Option<String> {
    let bytes = take(|value, len| unsafe { proxy_get_property(name.as_ptr(), name.len(), value, len) }).ok()?;
    String::from_utf8(bytes).ok()
}

/// Notes something for the access log, in the stream's filter state `wasm.<name>`, where no client can put anything.
pub(crate) fn set_property(name: &str, value: &str) -> Result<()> {
    check(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// The plugin's configuration.
pub(crate) fn configuration() -> Result<Vec<u8>> {
    take(|value, len| unsafe { proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, usize::MAX, value, len) })
}

/// The gRPC message that the current callback is about.
pub(crate) fn grpc_message(size: usize) -> Result<Vec<u8>> {
    take(|value, len| unsafe { proxy_get_buffer_bytes(GRPC_RECEIVE_BUFFER, 0, size, value, len) })
}

/// The request's header map, pseudo-headers included, as the host serializes it.
pub(crate) struct HeaderMap(Vec<u8>);

/// Reads the request's header map, once and whole: reading single headers returns only the first of several.
pub(crate) fn request_headers() -> Result<HeaderMap> {
    take(|value, len| unsafe { proxy_get_header_map_pairs(REQUEST_HEADERS, value, len) }).map(HeaderMap)
}

/// Reads the request's trailers.
pub(crate) fn request_trailers() -> Result<HeaderMap> {
    take(|value, len| unsafe { proxy_get_header_map_pairs(REQUEST_TRAILERS, value, len) }).map(HeaderMap)
}

impl HeaderMap {
    /// The headers in order whose names are wanted; `None` if the host's serialization cannot be read.
    ///
    /// Layout: the count, then two lengths per header, then each name and value with a zero byte behind it.
    pub(crate) fn parse(&self, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<Header<'_>>> {
        let (count, rest) = take_u32(&self.0)?;
        let (lengths, mut data) = rest.split_at_checked(count.checked_mul(8)?)?;
        let mut headers = Vec::with_capacity(count.min(16));
        let mut take_text = |len: [u8; 4]| {
            let (text, rest) = data.split_at_checked(usize::try_from(u32::from_le_bytes(len)).ok()?)?;
            data = rest.get(1..)?;
            Some(text)
        };
        for [a, b, c, d, e, f, g, h] in lengths.as_chunks().0 {
            let header = (take_text([*a, *b, *c, *d])?, take_text([*e, *f, *g, *h])?);
            if wanted(header.0) {
                headers.push(header);
            }
        }
        Some(headers)
    }
}

fn take_u32(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

/// Sets a request header, replacing all of that name.
pub(crate) fn set_header(name: &str, value: &[u8]) -> Result<()> {
    check(unsafe { proxy_replace_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// Adds a request header beside those of that name.
pub(crate) fn add_header(name: &str, value: &[u8]) -> Result<()> {
    check(unsafe { proxy_add_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// Removes all request headers of a name.
pub(crate) fn remove_header(name: &[u8]) -> Result<()> {
    check(unsafe { proxy_remove_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len()) })
}

/// Removes all request trailers of a name.
pub(crate) fn remove_trailer(name: &[u8]) -> Result<()> {
    check(unsafe { proxy_remove_header_map_value(REQUEST_TRAILERS, name.as_ptr(), name.len()) })
}

/// Answers the request in the upstream's place. `details` shows in access logs.
pub(crate) fn send_local_response(status: u16, details: &str, body: &str, headers: &[(&str, &str)]) -> Result<()> {
    let headers = serialize_headers(headers);
    check(unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC_STATUS,
        )
    })
}

fn serialize_headers(headers: &[(&str, &str)]) -> Vec<u8> {
    let length = |text: &str| (text.len() as u32).to_le_bytes();
    let mut out = (headers.len() as u32).to_le_bytes().to_vec();
    for (name, value) in headers {
        out.extend_from_slice(&length(name));
        out.extend_from_slice(&length(value));
    }
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        out.extend_from_slice(text.as_bytes());
        out.push(0);
    }
    out
}

/// A shared-data value and what a write must present to replace exactly this one.
pub(crate) struct Shared {
    /// Empty where there is none: shared data cannot tell the two apart.
    pub(crate) value: Vec<u8>,
    cas: u32,
}

/// Reads a shared-data value.
pub(crate) fn shared_data(name: &str) -> Result<Shared> {
    let mut cas = 0;
    match take(|value, len| unsafe { proxy_get_shared_data(name.as_ptr(), name.len(), value, len, &mut cas) }) {
        Ok(value) => Ok(Shared { value, cas }),
        Err(HostError(NOT_FOUND)) => Ok(Shared { value: Vec::new(), cas: CREATE }),
        Err(error) => Err(error),
    }
}

/// Replaces a shared-data value that was read before.
///
/// Fails with [`CAS_MISMATCH`] if it was changed meanwhile.
pub(crate) fn replace_shared_data(name: &str, read: &Shared, value: &[u8]) -> Result<()> {
    check(unsafe { proxy_set_shared_data(name.as_ptr(), name.len(), value.as_ptr(), value.len(), read.cas) })
}

/// A gauge of the filter's own: one number for the whole process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gauge(u32);

impl Gauge {
    pub(crate) fn define(name: &str) -> Result<Self> {
        let mut id = 0;
        check(unsafe { proxy_define_metric(GAUGE, name.as_ptr(), name.len(), &mut id) })?;
        Ok(Self(id))
    }

    pub(crate) fn get(self) -> Result<u64> {
        let mut value = 0;
        check(unsafe { proxy_get_metric(self.0, &mut value) })?;
        Ok(value)
    }

    pub(crate) fn set(self, value: u64) -> Result<()> {
        check(unsafe { proxy_record_metric(self.0, value) })
    }
}

/// A counter of the filter's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counter(u32);

impl Counter {
    pub(crate) fn define(name: &str) -> Result<Self> {
        let mut id = 0;
        check(unsafe { proxy_define_metric(COUNTER, name.as_ptr(), name.len(), &mut id) })?;
        Ok(Self(id))
    }

    pub(crate) fn increment(self) -> Result<()> {
        check(unsafe { proxy_increment_metric(self.0, 1) })
    }

    pub(crate) fn add(self, times: u64) -> Result<()> {
        check(unsafe { proxy_increment_metric(self.0, i64::try_from(times).unwrap_or(i64::MAX)) })
    }
}

/// Opens a gRPC stream; `service` is a serialized `envoy.config.core.v3.GrpcService`.
pub(crate) fn open_grpc_stream(service: &str, name: &str, method: &str) -> Result<u32> {
    let (metadata, mut token) = (serialize_headers(&[]), 0);
    check(unsafe {
        proxy_grpc_stream(
            service.as_ptr(),
            service.len(),
            name.as_ptr(),
            name.len(),
            method.as_ptr(),
            method.len(),
            metadata.as_ptr(),
            metadata.len(),
            &mut token,
        )
    })?;
    Ok(token)
}

/// Calls a gRPC method with one message; `service` as in [`open_grpc_stream`]. Its answer, or that there is none within so many
/// milliseconds, comes to the root context under the token that this returns.
pub(crate) fn call_grpc(service: &str, name: &str, method: &str, message: &[u8], timeout_ms: u32) -> Result<u32> {
    let (metadata, mut token) = (serialize_headers(&[]), 0);
    check(unsafe {
        proxy_grpc_call(
            service.as_ptr(),
            service.len(),
            name.as_ptr(),
            name.len(),
            method.as_ptr(),
            method.len(),
            metadata.as_ptr(),
            metadata.len(),
            message.as_ptr(),
            message.len(),
            timeout_ms,
            &mut token,
        )
    })?;
    Ok(token)
}

/// What the other side said when it ended the stream, in the callback that tells of the end.
pub(crate) fn grpc_status_message() -> String {
    let mut code = 0;
    let message = take(|value, len| unsafe { proxy_get_status(&mut code, value, len) }).unwrap_or_default();
    String::from_utf8_lossy(&message).into_owned()
}

/// Sends a message on a stream.
pub(crate) fn send_grpc(token: u32, message: &[u8]) -> Result<()> {
    check(unsafe { proxy_grpc_send(token, message.as_ptr(), message.len(), 0) })
}

/// Resets a stream.
pub(crate) fn cancel_grpc(token: u32) -> Result<()> {
    check(unsafe { proxy_grpc_cancel(token) })
}

fn check(status: u32) -> Result<()> {
    if status == OK { Ok(()) } else { Err(HostError(status)) }
}

/// Runs a call that makes the host allocate memory in this module, and takes that memory over.
fn take(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>> {
    let mut data = std::ptr::null_mut();
    let mut len = 0;
    check(call(&mut data, &mut len))?;
    if data.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: the host got `data` from the SDK's allocator export, which leaks a boxed slice of exactly `len` bytes to it.
    Ok(unsafe { Vec::from_raw_parts(data, len, len) })
}
