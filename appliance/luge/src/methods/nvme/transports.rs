//! Tests of paths to SSDs: transports, addresses, and servers that are none.

use super::attach::{Attach, run};
use super::tests::{Bench, two_namespaces};
use crate::control::{Call, Subsystem, control};
use luge_nvme::scripted::Script;
use luge_rpc::RpcError;
use serde_json::{Value, json};
use std::os::unix::net::UnixListener;

fn attach(trtype: &str, traddr: &str) -> RpcError {
    let params = json!({ "name": "Nvme0", "trtype": trtype, "traddr": traddr });
    let params: Attach = serde_json::from_value(params).unwrap();
    run(&control(), params).unwrap_err()
}

#[test]
fn a_transport_that_luge_does_not_have_is_refused_with_those_that_it_has() {
    let error = attach("TCP", "127.0.0.1");
    assert_eq!(error.code.0, -32602);
    assert!(error.message.contains("PCIe or VFIOUSER"), "{error}");
}

#[test]
fn a_server_is_named_by_an_absolute_path() {
    for traddr in ["", "run/nvme", "0000:01:00.0", "/a\0b"] {
        let error = attach("VFIOUSER", traddr);
        assert_eq!(error.code.0, -32602, "{traddr}");
        assert!(error.message.contains("absolute path"), "{error}");
    }
}

#[test]
fn a_server_that_does_not_run_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let error = attach("vfiouser", folder.path().to_str().unwrap());
    assert_eq!(error.code.0, -19);
    let socket = folder.path().join("cntrl");
    assert!(error.message.contains(socket.to_str().unwrap()), "{error}");
    assert!(error.message.contains("start the server first"), "{error}");
}

#[test]
fn a_controller_of_this_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _listener = UnixListener::bind(folder.path().join("cntrl")).unwrap();
    let error = attach("VFIOUSER", folder.path().to_str().unwrap());
    assert_eq!(error.code.0, -22);
    assert!(error.message.contains("of this process"), "{error}");
}

#[test]
fn an_ssd_behind_a_server_is_listed_and_saved_as_it_was_attached_and_only_once() {
    let bench = Bench::new();
    let at = |traddr: &str| json!({ "name": "a", "trtype": "VFIOUSER", "traddr": traddr });
    bench.attach_with(at("/run/ssds/one"), &bench.ssd(two_namespaces())).unwrap();
    let trid = json!({ "trtype": "VFIOUSER", "traddr": "/run/ssds/one" });
    let listed = bench.call("list", Value::Null).unwrap();
    assert_eq!(listed[0]["ctrlrs"][0]["trid"], trid);
    let params = |call: &Call| call.params.clone();
    let saved: Vec<Value> =
        bench.control.ask(move |sled| Ok(sled.record.calls(Subsystem::Bdev).map(params).collect())).unwrap();
    assert_eq!(saved, [at("/run/ssds/one")]);

    let again = json!({ "name": "b", "trtype": "VFIOUSER", "traddr": "/run/ssds/one" });
    let error = bench.attach_with(again, &bench.ssd(Script::default())).unwrap_err();
    assert_eq!(error.code.0, -16);
    assert!(error.message.contains("attached as a"), "{error}");

    let wrong = bench.call("detach", json!({ "name": "a", "trtype": "PCIe" })).unwrap_err();
    assert_eq!(wrong.code.0, -32602);
    let other = json!({ "name": "a", "trtype": "VFIOUSER", "traddr": "/run/ssds/two" });
    assert_eq!(bench.call("detach", other).unwrap_err().code.0, -19);
    assert_eq!(bench.call("detach", json!({ "name": "a", "traddr": "/run/ssds/one" })).unwrap(), true);
}
