//! The page, in Chromium.

use super::browser::Browser;
use super::fake_sled::{FakeSled, HOSTILE};
use super::rig::Exporter;
use serde_json::{Value, json};
use std::path::PathBuf;

/// A busy sled, its exporter, and a browser that shows live numbers.
struct Rig {
    browser: Browser,
    exporter: Option<Exporter>,
    _sled: FakeSled,
}

impl Rig {
    fn new() -> Self {
        let sled = FakeSled::start();
        let exporter = Exporter::of(&sled.socket());
        let mut browser = Browser::open(&format!("http://{}/", exporter.address));
        browser.show(1280, 1100, "light");
        browser.until("document.querySelector('#total-iops')?.textContent.includes('k')");
        Self { browser, exporter: Some(exporter), _sled: sled }
    }

    /// Text of the card of a thing, in a column.
    fn card(&mut self, column: &str, name: &str) -> String {
        let cards = format!("[...document.querySelectorAll('#{column} .card')]");
        let named = json!(name);
        let text = format!("{cards}.find((card) => card.dataset.name === {named})?.innerText ?? 'no card'");
        self.browser.value(&text).as_str().unwrap_or_default().to_owned()
    }

    fn assert_card(&mut self, column: &str, name: &str, words: &str) {
        let card = self.card(column, name);
        assert!(card.contains(words), "{words} is not in the card of {name}: {card}");
    }

    fn keep_picture(&mut self, name: &str) {
        let encoded = self.browser.picture();
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("exporter-{name}.png"));
        std::fs::write(&file, decoded(&encoded)).unwrap();
    }
}

/// Bytes of a text in base64.
fn decoded(text: &str) -> Vec<u8> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |byte| u32::try_from(digits.iter().position(|&digit| digit == byte).unwrap()).unwrap();
    let text = text.trim_end_matches('=').as_bytes();
    let bytes = text.chunks(4).flat_map(|four| {
        let bits = four.iter().fold(0, |bits, &byte| bits << 6 | digit(byte)) << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    });
    bytes.collect()
}

#[test]
fn the_page_shows_the_sled_from_vms_to_ssds_with_live_numbers() {
    let mut rig = Rig::new();
    rig.assert_card("vms", "database", "8 CPUs, 32.0 GiB, running");
    rig.assert_card("vms", "other front ends", "not run by Luge");
    rig.assert_card("endpoints", "mail.disk", "vhost-user-blk, 2 queues");
    rig.assert_card("endpoints", "nqn.2016-06.io.spdk:windows", "NVMe over vfio-user, 4 queues");
    rig.assert_card("volumes", "Nvme0n1p1", "8.00 GiB, part of Nvme0n1");
    rig.assert_card("volumes", "Nvme0n1p1", "IOPS");
    rig.browser.until("document.querySelector('#ssds').innerText.includes('83')");
    rig.assert_card("ssds", "Nvme0", "0000:3b:00.0, 36\u{a0}°C, 4\u{a0}% used, 97\u{a0}% spare");
    rig.assert_card("ssds", "Nvme1", "resetting");
    rig.assert_card("ssds", "Nvme2", "temperature");
    rig.assert_card("ssds", "Nvme1", "resetting");
    assert_eq!(rig.card("volumes", "Nvme0n1"), "no card", "a base of others that is not served is shown");
    let links = rig.browser.value("document.querySelectorAll('#links path.busy').length");
    assert_eq!(links, 12, "four ways, each from a VM to where its data is");
    rig.browser.until("document.querySelector('#read-quantiles').textContent.includes('p50 16.4 µs')");
    assert_eq!(rig.browser.value("document.querySelector('#version').textContent"), "v9.8.7");
    rig.keep_picture("light");
    rig.browser.show(1280, 1100, "dark");
    rig.keep_picture("dark");
    assert_eq!(rig.browser.errors, Vec::<Value>::new());
}

#[test]
fn a_volume_is_chosen_by_its_card_and_its_latencies_are_shown() {
    let mut rig = Rig::new();
    rig.browser.value("document.querySelector('#volumes .card').click()");
    let first = rig.browser.value("document.querySelector('#volumes .card').dataset.name");
    assert_eq!(rig.browser.value("document.querySelector('#chosen').value"), first);
    let coloured = "(() => { const map = document.querySelector('#read-heat'); \
        const pen = map.getContext('2d'); \
        const all = pen.getImageData(60, 0, map.width - 60, map.height - 20).data; \
        return new Set(new Uint32Array(all.buffer)).size > 5; })()";
    rig.browser.until(coloured);
}

#[test]
fn a_name_is_text_whatever_it_spells() {
    let mut rig = Rig::new();
    rig.assert_card("volumes", HOSTILE, HOSTILE);
    assert_eq!(rig.browser.value("document.querySelectorAll('main img').length"), 0);
    assert_eq!(rig.browser.value("document.title"), "Luge");
}

#[test]
fn a_phone_has_the_columns_below_each_other_and_nothing_beside_its_screen() {
    let mut rig = Rig::new();
    rig.browser.show(360, 740, "light");
    rig.browser.until("getComputedStyle(document.querySelector('#links')).display === 'none'");
    assert_eq!(rig.browser.value("document.documentElement.scrollWidth"), 360);
    rig.assert_card("vms", "mail", "→ mail.disk");
    rig.keep_picture("phone");
}

#[test]
fn a_page_says_that_its_numbers_have_become_old() {
    let mut rig = Rig::new();
    rig.exporter = None;
    rig.browser.until("document.querySelector('#state').dataset.state === 'away'");
    let words = rig.browser.value("document.querySelector('#state').textContent");
    assert!(words.as_str().unwrap().starts_with("The exporter does not answer. Last seen "), "{words}");
    rig.assert_card("vms", "mail", "4.00 GiB");
}
