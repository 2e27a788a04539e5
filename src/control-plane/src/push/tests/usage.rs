//! Reports of keys' use: whose are taken in, and what is said of the others.

use keygate_wire::usage::{UsageNoted, UsageReport};
use keygate_wire::{sync, usage};
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::*;

async fn report(control_plane: &ControlPlane, method: &str, report: UsageReport) -> Result<UsageNoted, Status> {
    let channel = Endpoint::from_shared(format!("http://{}", control_plane.address)).unwrap().connect().await.unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let path = format!("/{}/{method}", sync::SERVICE).try_into().unwrap();
    client.unary(Request::new(report), path, ProstCodec::default()).await.map(tonic::Response::into_inner)
}

fn of(keys: &[u64]) -> UsageReport {
    UsageReport {
        proxy: "edge-1".to_owned(),
        token: String::new(),
        table: TABLE.to_owned(),
        keys: keys.to_vec(),
        seconds_ago: vec![5; keys.len()],
    }
}

#[tokio::test]
async fn a_report_is_taken_in_from_whom_a_hello_would_be() {
    let control_plane = ControlPlane::start(0).await;
    let send = async |report_: UsageReport| report(&control_plane, usage::METHOD, report_).await.map_err(|status| status.code());
    assert_eq!(send(of(&[7, 9])).await, Ok(UsageNoted {}));
    let reported = |seconds| vec![(KeyId(7), Duration::from_secs(seconds)), (KeyId(9), Duration::from_secs(seconds))];
    assert_eq!(std::mem::take(&mut *control_plane.reported.lock().unwrap()), reported(5));

    for wrong in [
        UsageReport { proxy: "a b".to_owned(), ..of(&[7]) },
        UsageReport { table: "other".to_owned(), ..of(&[7]) },
        UsageReport { seconds_ago: Vec::new(), ..of(&[7]) },
        of(&[7; usage::MAX_KEYS + 1]),
    ] {
        assert_eq!(send(wrong).await, Err(Code::InvalidArgument));
    }
    assert_eq!(send(UsageReport { token: "kgj_short".to_owned(), ..of(&[7]) }).await, Err(Code::Unauthenticated));
    assert!(control_plane.reported.lock().unwrap().is_empty(), "what is refused counts for nothing");
    assert_eq!(send(of(&[7, 8, 9])).await, Err(Code::ResourceExhausted), "where there is no room it has to come again");
    let traffic = control_plane.publisher.traffic();
    assert_eq!((traffic.usage_reports.get(), traffic.usage_reports_refused.get()), (1, 6));
}

#[tokio::test]
async fn other_methods_are_none() {
    let control_plane = ControlPlane::start(0).await;
    for method in ["Report", "ReportUsage/", "Stream/ReportUsage", ""] {
        let refused = report(&control_plane, method, of(&[7])).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented, "{method}");
    }
    assert_eq!(usage::UNIMPLEMENTED, Code::Unimplemented as u32);
}
