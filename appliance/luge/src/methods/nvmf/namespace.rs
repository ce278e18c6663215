//! `nvmf_subsystem_add_ns` and `nvmf_subsystem_remove_ns`.

use super::describe::hex;
use super::refusal;
use super::target::check_target;
use crate::control::{Call, Control, Sled, Subsystem, User};
use crate::methods::definition::{method, off, waiting_method};
use luge_nvme_target::{NamespaceConfig, NamespaceId, NamespaceIdentity};
use luge_rpc::{Method, ParamValue, RpcError, params};
use luge_volume::Volume;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// Description of a namespace, as clients write it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    bdev_name: String,
    nsid: Option<u32>,
    nguid: Option<String>,
    eui64: Option<String>,
    uuid: Option<Uuid>,
    ptpl_file: Option<String>,
    anagrpid: Option<u32>,
    no_auto_visible: Option<bool>,
    /// Without effect: there is no metadata.
    #[serde(rename = "hide_metadata")]
    _hide_metadata: Option<bool>,
}

impl ParamValue for Wanted {
    const KIND: &'static str = "object";
}

params! {
    /// Parameters of `nvmf_subsystem_add_ns`.
    struct Add {
        /// Name of the subsystem
        nqn: String,
        /// The bdev (bdev_name), and, if wanted, nsid, uuid, nguid and eui64
        namespace: Wanted,
        /// nvmf_tgt, or not given
        tgt_name: Option<String>,
    }
}

params! {
    /// Parameters of `nvmf_subsystem_remove_ns`.
    struct Remove {
        /// Name of the subsystem
        nqn: String,
        /// Namespace identifier
        nsid: u32,
        /// nvmf_tgt, or not given
        tgt_name: Option<String>,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![
        method(control, "nvmf_subsystem_add_ns", "Add a device to an NVMe subsystem as a namespace", add),
        waiting_method(
            control,
            "nvmf_subsystem_remove_ns",
            "Remove a namespace from an NVMe subsystem",
            remove,
        ),
    ]
}

/// Facts that the control thread found for a namespace that is being added.
struct Claim {
    bdev: String,
    uuid: Uuid,
    volume: Arc<Volume>,
    target: Arc<luge_nvme_target::Subsystem>,
}

/// Adds a namespace. The volume is opened on this thread, as an SSD may be slow.
fn add(control: &Arc<Control>, params: Add) -> Result<u32, RpcError> {
    let Add { nqn, namespace, tgt_name } = params;
    check_target(tgt_name.as_deref())?;
    check_off(&namespace)?;
    let id = id(namespace.nsid)?;
    let nguid = digits::<16>("nguid", namespace.nguid.as_deref())?;
    let eui64 = digits::<8>("eui64", namespace.eui64.as_deref())?;
    let (name, bdev_name) = (nqn.clone(), namespace.bdev_name);
    let claim = control.ask(move |sled| claim(sled, &name, &bdev_name))?;
    let (name, bdev) = (nqn.clone(), claim.bdev.clone());
    let undo = control.undo(move |sled| give_up(sled, &name, &bdev));
    let uuid = namespace.uuid.filter(|uuid| !uuid.is_nil()).unwrap_or(claim.uuid).into_bytes();
    // As in SPDK, where no NGUID is given, it is the UUID.
    let identity = NamespaceIdentity { uuid, nguid: nguid.unwrap_or(uuid), eui64: eui64.unwrap_or_default() };
    let (name, volume) = (claim.bdev.clone(), claim.volume);
    let added = claim.target.add_namespace(NamespaceConfig { id, volume, name, identity });
    let NamespaceId(nsid) = added.map_err(|error| refusal::subsystem(&error))?;
    let bdev = claim.bdev;
    control.ask(move |sled| {
        let subsystem = sled.nvmf.subsystems.get_mut(&nqn)?;
        subsystem.namespaces.insert(nsid, bdev.clone());
        sled.nvmf.end_change(&nqn);
        let call = call(&nqn, nsid, &bdev, &identity);
        sled.record.add(Subsystem::Nvmf, &record_name(&nqn, nsid), Call::new("nvmf_subsystem_add_ns", call));
        Ok(())
    })?;
    undo.disarm();
    // It may have been resized before the namespace was in the table.
    let _ = claim.target.resized(NamespaceId(nsid));
    Ok(nsid)
}

fn check_off(namespace: &Wanted) -> Result<(), RpcError> {
    off("namespace.ptpl_file", namespace.ptpl_file.clone())?;
    off("namespace.anagrpid", namespace.anagrpid)?;
    off("namespace.no_auto_visible", namespace.no_auto_visible)
}

/// Identifier that was asked for, if one was; as in SPDK, 0 asks for none.
fn id(nsid: Option<u32>) -> Result<Option<NamespaceId>, RpcError> {
    match nsid {
        None | Some(0) => Ok(None),
        Some(u32::MAX) => {
            Err(RpcError::invalid_params("parameter `namespace.nsid`: 4294967295 means all namespaces"))
        }
        Some(id) => Ok(Some(NamespaceId(id))),
    }
}

/// Reads an identifier of `N` bytes, written as hexadecimal digits.
fn digits<const N: usize>(name: &str, text: Option<&str>) -> Result<Option<[u8; N]>, RpcError> {
    let Some(text) = text else { return Ok(None) };
    let digit = |digit: &u8| (*digit as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits: Option<Vec<u8>> = text.as_bytes().iter().map(digit).collect();
    let bytes: Option<Vec<u8>> = digits.map(|digits| {
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
    });
    let bytes = bytes.filter(|_| text.len() == 2 * N).and_then(|bytes| bytes.try_into().ok());
    bytes.map(Some).ok_or_else(|| {
        RpcError::invalid_params(format_args!(
            "parameter `namespace.{name}`: write {} hexadecimal digits",
            2 * N
        ))
    })
}

fn claim(sled: &mut Sled, nqn: &str, bdev_name: &str) -> Result<Claim, RpcError> {
    sled.nvmf.find(nqn)?;
    let bdev = sled.bdevs.resolve(bdev_name).map_err(|error| {
        RpcError::invalid_params(format_args!("parameter `namespace.bdev_name`: {error}"))
    })?;
    let user = User::Subsystem(nqn.into());
    if sled.bdevs.get(&bdev)?.users.contains(&user) {
        return Err(RpcError::invalid_params(format_args!(
            "parameter `namespace.bdev_name`: bdev {bdev} is a namespace of {nqn} already: one is enough"
        )));
    }
    sled.bdevs.claim(&bdev, user)?;
    let subsystem = sled.nvmf.begin_change(nqn)?;
    let (target, owner) = (subsystem.target.clone(), subsystem.pr_owner.clone());
    let device = sled.bdevs.get_mut(&bdev)?;
    Ok(Claim { uuid: device.uuid, volume: device.volume_for(owner.as_ref()), bdev, target })
}

fn give_up(sled: &mut Sled, nqn: &str, bdev: &str) {
    sled.bdevs.unclaim(bdev, &User::Subsystem(nqn.into()));
    sled.nvmf.end_change(nqn);
}

/// Parameters by which the namespace is added again.
fn call(nqn: &str, nsid: u32, bdev: &str, identity: &NamespaceIdentity) -> Value {
    let mut namespace = json!({
        "nsid": nsid,
        "bdev_name": bdev,
        "nguid": hex(&identity.nguid),
        "uuid": Uuid::from_bytes(identity.uuid),
    });
    if identity.eui64 != [0; 8] {
        namespace["eui64"] = hex(&identity.eui64).into();
    }
    json!({ "nqn": nqn, "namespace": namespace })
}

/// Removes a namespace. Waits on this thread for requests in flight.
fn remove(control: &Arc<Control>, params: Remove) -> Result<bool, RpcError> {
    let Remove { nqn, nsid, tgt_name } = params;
    check_target(tgt_name.as_deref())?;
    let name = nqn.clone();
    let (target, bdev) = control.ask(move |sled| take(sled, &name, nsid))?;
    // It was there, and nobody else removes it.
    let _ = target.remove_namespace(NamespaceId(nsid));
    control.ask(move |sled| {
        give_up(sled, &nqn, &bdev);
        Ok(true)
    })
}

fn take(
    sled: &mut Sled,
    nqn: &str,
    nsid: u32,
) -> Result<(Arc<luge_nvme_target::Subsystem>, String), RpcError> {
    if !sled.nvmf.find(nqn)?.namespaces.contains_key(&nsid) {
        return Err(RpcError::invalid_params(format_args!(
            "parameter `nsid`: subsystem {nqn} has no namespace {nsid}: nvmf_get_subsystems lists those there are"
        )));
    }
    let subsystem = sled.nvmf.begin_change(nqn)?;
    let bdev = subsystem.namespaces.remove(&nsid).unwrap_or_default();
    let target = subsystem.target.clone();
    sled.record.remove(Subsystem::Nvmf, &record_name(nqn, nsid));
    Ok((target, bdev))
}

/// Key of a namespace in the record. A name has no line break, so the key differs from those of subsystems.
fn record_name(nqn: &str, nsid: u32) -> String {
    format!("{nqn}\nns {nsid}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_has_all_of_its_digits_and_nothing_else() {
        let read = |text: &str| digits::<8>("eui64", Some(text));
        assert_eq!(read("0011223344aAbBcC").unwrap(), Some([0, 0x11, 0x22, 0x33, 0x44, 0xaa, 0xbb, 0xcc]));
        assert_eq!(digits::<8>("eui64", None).unwrap(), None);
        for wrong in
            ["", "0", "0011223344aabbc", "0011223344aabbccd", "0011223344aabbcg", "+011223344aabbcc", "ééééé"]
        {
            assert_eq!(read(wrong).unwrap_err().code.0, -32602, "{wrong}");
        }
    }
}
