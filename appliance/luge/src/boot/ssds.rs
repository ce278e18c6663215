//! Choice of the SSDs that the boot attaches, before the configuration's own calls.
//!
//! | `ssds` | Attached |
//! |---|---|
//! | not set, and the configuration attaches SSDs | none: the configuration does it |
//! | not set otherwise | all but the boot SSD |
//! | `all`, `none`, a list | that |
//!
//! Names are `nvme0`, `nvme1`, ... in the order of addresses. SSDs that the configuration attaches, and the
//! names that it gives, are left out.

use super::origin::Origin;
use crate::config::Config;
use luge_init::Ssds;
use luge_vfio::PciAddress;
use std::collections::BTreeSet;

/// Choice of SSDs, with messages for the operator.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Names and addresses of the SSDs to attach.
    pub take: Vec<(String, PciAddress)>,
    /// Information for the operator.
    pub notes: Vec<String>,
    /// Faults for the operator.
    pub faults: Vec<String>,
}

/// Facts that the choice depends on.
pub struct Known<'a> {
    /// The setting.
    pub wish: &'a Ssds,
    /// The SSDs of this machine.
    pub present: &'a [PciAddress],
    /// Device of the boot.
    pub origin: Origin,
    /// SSDs that the configuration attaches.
    pub configured: &'a Configured,
}

/// SSDs of a configuration.
#[derive(Debug, Default)]
pub struct Configured {
    addresses: BTreeSet<PciAddress>,
    names: BTreeSet<String>,
}

/// Chooses the SSDs to attach.
pub fn choose(known: &Known<'_>) -> Choice {
    let mut choice = Choice::default();
    let wanted: Vec<PciAddress> = match known.wish {
        Ssds::Nothing => Vec::new(),
        Ssds::All => known.present.to_vec(),
        Ssds::AllButBoot if !known.configured.addresses.is_empty() => {
            choice.notes.push("the configuration names the SSDs to take".into());
            Vec::new()
        }
        Ssds::AllButBoot => all_but_boot(known, &mut choice),
        Ssds::Listed(list) => listed(list, known, &mut choice),
    };
    let Configured { addresses, names } = known.configured;
    let left = wanted.into_iter().filter(|address| !addresses.contains(address));
    let free = (0..).map(|number: u32| format!("nvme{number}")).filter(|name| !names.contains(name));
    choice.take = free.zip(left).collect();
    choice
}

fn all_but_boot(known: &Known<'_>, choice: &mut Choice) -> Vec<PciAddress> {
    let others = known.present.iter().copied().filter(|address| known.origin != Origin::Ssd(*address));
    let others: Vec<PciAddress> = others.collect();
    match known.origin {
        Origin::Ssd(address) => choice.notes.push(format!(
            "{address} is left alone: the appliance was booted from it (luge.ssds=all takes it too)"
        )),
        Origin::Unknown if !others.is_empty() => choice
            .notes
            .push("the firmware does not say which disk it booted from: name the SSDs (luge.ssds=)".into()),
        Origin::Unknown | Origin::Elsewhere => {}
    }
    choice.notes.push(match others.len() {
        0 => "there is no SSD to take".into(),
        count => format!("no SSD is named, so all that can be are taken ({count})"),
    });
    others
}

fn listed(list: &[String], known: &Known<'_>, choice: &mut Choice) -> Vec<PciAddress> {
    let mut wanted = BTreeSet::new();
    for text in list {
        match text.parse::<PciAddress>() {
            Ok(address) if known.present.contains(&address) => {
                wanted.insert(address);
            }
            Ok(address) => {
                let names: Vec<String> = known.present.iter().map(ToString::to_string).collect();
                let there = if names.is_empty() { "none".into() } else { names.join(", ") };
                choice.faults.push(format!("{address} is no NVMe SSD of this machine; there are: {there}"));
            }
            Err(error) => choice.faults.push(error.to_string()),
        }
    }
    wanted.into_iter().collect()
}

/// SSDs that a configuration attaches.
pub fn configured(config: &Config) -> Configured {
    let attaches = config.calls().filter(|call| call.method == "bdev_nvme_attach_controller");
    let (mut addresses, mut names) = (BTreeSet::new(), BTreeSet::new());
    for call in attaches {
        let address = call.params["traddr"].as_str().map(str::parse::<PciAddress>);
        addresses.extend(address.into_iter().flatten());
        names.extend(call.params["name"].as_str().map(String::from));
    }
    Configured { addresses, names }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn addresses(list: &[&str]) -> Vec<PciAddress> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn chosen(wish: &Ssds, boot: Option<&str>, configured: &[&str]) -> Choice {
        let known = Known {
            wish,
            present: &addresses(&["01:00.0", "02:00.0", "03:00.0"]),
            origin: boot.map_or(Origin::Elsewhere, |address| Origin::Ssd(address.parse().unwrap())),
            configured: &Configured {
                addresses: addresses(configured).into_iter().collect(),
                names: BTreeSet::new(),
            },
        };
        choose(&known)
    }

    fn taken(choice: &Choice) -> Vec<String> {
        choice.take.iter().map(|(name, address)| format!("{name}={address}")).collect()
    }

    #[test]
    fn where_nothing_is_said_all_but_the_boot_device_are_taken_and_this_is_said() {
        let choice = chosen(&Ssds::AllButBoot, Some("02:00.0"), &[]);
        assert_eq!(taken(&choice), ["nvme0=0000:01:00.0", "nvme1=0000:03:00.0"]);
        assert!(choice.notes[0].starts_with("0000:02:00.0 is left alone") && choice.notes[1].contains("(2)"));
    }

    #[test]
    fn a_configuration_that_attaches_ssds_is_asked_for_no_others() {
        let choice = chosen(&Ssds::AllButBoot, None, &["02:00.0"]);
        assert!(choice.take.is_empty() && choice.faults.is_empty());
    }

    #[test]
    fn an_explicit_wish_is_obeyed_and_what_is_configured_is_left_to_the_configuration() {
        assert_eq!(
            taken(&chosen(&Ssds::All, Some("01:00.0"), &["02:00.0"])),
            ["nvme0=0000:01:00.0", "nvme1=0000:03:00.0"]
        );
        assert!(chosen(&Ssds::Nothing, None, &[]).take.is_empty());
    }

    #[test]
    fn names_of_the_configuration_are_left_to_it() {
        let present = addresses(&["01:00.0", "02:00.0", "03:00.0"]);
        let names = BTreeSet::from(["nvme1".to_owned()]);
        let configured = Configured { addresses: BTreeSet::new(), names };
        let (wish, origin) = (&Ssds::All, Origin::Elsewhere);
        let choice = choose(&Known { wish, present: &present, origin, configured: &configured });
        let names: Vec<&str> = choice.take.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["nvme0", "nvme2", "nvme3"]);
    }

    #[test]
    fn a_list_is_taken_in_order_and_each_wrong_entry_is_named() {
        let list = ["03:00.0", "09:00.0", "0000:01:00.0", "03:00.0", "x:y.z"].map(String::from).to_vec();
        let choice = chosen(&Ssds::Listed(list), Some("01:00.0"), &[]);
        assert_eq!(taken(&choice), ["nvme0=0000:01:00.0", "nvme1=0000:03:00.0"]);
        assert_eq!(choice.faults.len(), 2);
        assert!(
            choice.faults[0].contains("0000:09:00.0 is no NVMe SSD") && choice.faults[1].contains("x:y.z")
        );
    }

    #[test]
    fn the_ssds_that_a_configuration_attaches_are_found() {
        let attach = |address: &str| {
            json!({
                "method": "bdev_nvme_attach_controller", "params": { "name": "a", "traddr": address },
            })
        };
        let text = json!({ "subsystems": [
            { "subsystem": "bdev", "config": [attach("01:00.0"), [attach("0000:02:00.0"), { "method": "x" }]] },
            { "subsystem": "vm", "config": [attach("nonsense"), { "method": "bdev_nvme_attach_controller" }] },
        ]});
        let config = Config::parse(text.to_string().as_bytes()).unwrap();
        let found = configured(&config);
        assert_eq!(Vec::from_iter(found.addresses), addresses(&["01:00.0", "02:00.0"]));
        assert_eq!(Vec::from_iter(found.names), ["a"]);
    }
}
