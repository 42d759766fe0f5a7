//! Waking a bare hardware address.

use std::net::Ipv4Addr;
use std::time::Duration;

use host_sim::PowerState;
use station_control::{WakeError, WakeRequest};
use wol::MacAddr;

use crate::bench::{Bench, asleep};

fn request(bench: &Bench) -> WakeRequest {
    let sim = bench.sim();
    WakeRequest {
        broadcast: sim.address(),
        port: sim.wol_port(),
        ping_target: Some(sim.address().to_string()),
        ping_timeout: Duration::from_secs(30),
        probe_ports: vec![sim.http_port()],
        ..WakeRequest::new(MacAddr::new(sim.mac()).unwrap())
    }
}

#[tokio::test]
async fn an_address_is_woken_and_its_answer_is_not_waited_for_longer_than_needed() {
    let bench = Bench::start(asleep()).await;
    let woken = bench.control.wake_address(request(&bench)).await.unwrap();
    assert!(woken.success);
    assert_eq!(woken.attempts_used, 1);
    assert_eq!(bench.sim().counts().packets_valid, 1);
    assert!(woken.duration < Duration::from_secs(30), "{:?}", woken.duration);
    bench.end().await;
}

#[tokio::test]
async fn a_target_that_stays_silent_is_no_success_and_no_error() {
    let bench = Bench::start(asleep()).await;
    bench.sim().set_fault(host_sim::Fault::NeverBoots);
    let quick = WakeRequest {
        ping_timeout: Duration::from_millis(200),
        attempts: 2,
        ..request(&bench)
    };
    let woken = bench.control.wake_address(quick).await.unwrap();
    assert_eq!((woken.success, woken.attempts_used), (false, 2));
    assert_eq!(bench.sim().counts().packets_valid, 2);
    bench.end().await;
}

#[tokio::test]
async fn without_a_target_packets_are_sent_and_success_is_never_claimed() {
    let bench = Bench::start(asleep()).await;
    let blind = WakeRequest {
        ping_target: None,
        ping_timeout: Duration::ZERO,
        attempts: 1,
        ..request(&bench)
    };
    let woken = bench.control.wake_address(blind).await.unwrap();
    assert_eq!(
        (woken.success, woken.attempts_used, woken.ping_target),
        (false, 1, None)
    );
    assert!(bench.sim().wait_for(PowerState::Ready, crate::bench::LIMIT).await);
    bench.end().await;
}

#[tokio::test]
async fn packets_and_looks_stay_in_the_allowed_networks() {
    let bench = Bench::start(asleep()).await;
    let outside = Ipv4Addr::new(8, 8, 8, 8);
    for refused in [
        WakeRequest {
            broadcast: outside,
            ..request(&bench)
        },
        WakeRequest {
            ping_target: Some(outside.to_string()),
            ..request(&bench)
        },
    ] {
        let error = bench.control.wake_address(refused).await.unwrap_err();
        assert!(matches!(error, WakeError::AddressNotAllowed { .. }), "{error:?}");
        assert_eq!(error.code(), "address_not_allowed");
    }
    assert_eq!(bench.sim().counts().packets_valid, 0);
    bench.end().await;
}
