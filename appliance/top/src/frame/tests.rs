//! Tests of frames, drawn on a terminal in memory.

use super::draw;
use crate::rig::Sled;
use crate::state::{Effect, State};
use luge_init::Key;
use luge_observe::{Core, Health, SourceError, Volume};
use ratatui_core::backend::TestBackend;
use ratatui_core::terminal::Terminal;

/// State after two looks, a second apart.
fn watched() -> State {
    let mut state = State::new("/run/luge.sock".into());
    state.observed.add(Ok(Sled::at(1)));
    state.observed.add(Ok(Sled::at(2)));
    state
}

fn press(state: &mut State, keys: &str) {
    for key in keys.chars() {
        let key = if key == '\n' { Key::Enter } else { Key::Char(key) };
        assert_ne!(state.press(key), Effect::Leave, "{key:?}");
    }
}

/// Rows of a frame of this size, without spaces at their ends.
fn rows(state: &mut State, columns: u16, rows: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(state, frame.area(), frame.buffer_mut())).unwrap();
    let cells = terminal.backend().buffer().content();
    let row = |cells: &[ratatui_core::buffer::Cell]| {
        let text: String = cells.iter().map(ratatui_core::buffer::Cell::symbol).collect();
        text.trim_end().to_owned()
    };
    cells.chunks(columns.into()).map(row).collect()
}

#[test]
fn volumes_are_the_first_view_and_the_busiest_is_first() {
    let rows = rows(&mut watched(), 80, 24);
    let expected = "\
Luge v0.1.0  1.02k IOPS  3.98 MiB/s read  0 B/s written  /run/luge.sock
CPU 3 [||      ]  25 %
 1 Volumes   2 SSDs   3 Endpoints   4 VMs   5 Cores
VOLUME   IOPS   READ/s WRITTEN/s     p50     p99 DEPTH     SIZE FAILED/s ON
nvme0n1 1.00k 3.91 MiB       0 B 90.0 us  250 us   0.1 3726 GiB        0 nvme0
scratch    20 80.0 KiB       0 B       -       -   0.0    1 GiB        0 Malloc~";
    assert_eq!(rows[..6].join("\n"), expected);
    assert_eq!(rows[6..23].concat(), "");
    assert_eq!(rows[23], "q quit  Tab view  s sort  r reverse  / filter  +- interval  ? help  1 s");
}

#[test]
fn every_view_shows_its_things() {
    let mut state = watched();
    for (key, expected) in [
        ("2", "nvme0 enabled -      1.00k 3.91 MiB       0 B 90.0 us  250 us   0.1    -    -"),
        ("3", "vm1.disk blk  1.00k 3.91 MiB       0 B 90.0 us  250 us   0.1      1 2 in line"),
        ("4", "vm1 running 1.00k 3.91 MiB       0 B 90.0 us  250 us   0.1    4  2 GiB vm1.disk"),
        ("5", "  3 25 %     2    0      42.0 us polls vm1 100 %"),
    ] {
        press(&mut state, key);
        let shown = rows(&mut state, 80, 24);
        assert_eq!(shown[4], expected, "view {key}: {shown:#?}");
    }
}

/// Number of rows with a mark at the right edge that there are more columns.
fn marks(state: &mut State, columns: u16) -> usize {
    rows(state, columns, 24)
        .iter()
        .filter(|row| row.len() == usize::from(columns) && row.ends_with('>'))
        .count()
}

#[test]
fn columns_that_do_not_fit_are_marked() {
    let mut state = watched();
    assert_eq!(marks(&mut state, 80), 0);
    assert_eq!(marks(&mut state, 70), 1);
    press(&mut state, "2");
    assert_eq!(marks(&mut state, 80), 1);
    assert_eq!(marks(&mut state, 120), 0);
}

#[test]
fn cores_that_do_not_fit_are_counted() {
    let mut state = watched();
    let now = state.observed.now.as_mut().unwrap();
    let core = now.cores[0].clone();
    now.cores = (10..30).map(|id| Core { id, ..core.clone() }).collect();
    let shown = rows(&mut state, 80, 24);
    assert!(shown[1].ends_with("%  +17"), "{}", shown[1]);
    let width = "CPU 10 [        ]   - %  CPU 11 [        ]   - %".len();
    state.observed.now.as_mut().unwrap().cores.truncate(2);
    assert!(rows(&mut state, u16::try_from(width).unwrap(), 24)[1].ends_with("CPU 11 [        ]   - %"));
    assert!(rows(&mut state, u16::try_from(width).unwrap() - 1, 24)[1].ends_with("%  +1"));
}

#[test]
fn an_ssd_shows_its_health_and_its_warnings() {
    let mut state = watched();
    press(&mut state, "2");
    for (warning, expected) in [(0, "good "), (1, "spare low "), (0b110, "temperature, unreliable ")] {
        let health = Health {
            temperature_celsius: Some(-3),
            spare_percent: Some(9),
            used_percent: Some(130),
            critical_warning: Some(warning),
            ..Health::default()
        };
        state.observed.now.as_mut().unwrap().ssds[0].health = Some(health);
        let row = rows(&mut state, 120, 24).swap_remove(4);
        assert!(row.starts_with(&format!("nvme0 enabled {expected}")), "{row}");
        assert!(row.contains(" -3 C 130 %   9 % "), "{row}");
    }
}

#[test]
fn a_terminal_that_is_too_small_shows_a_sentence() {
    let shown = rows(&mut watched(), 20, 24);
    let sentence = shown.join(" ");
    let expected = "luge top needs 40 columns and 8 rows; here are 20 and 24. q leaves.";
    assert!(sentence.starts_with(expected), "{sentence}");
    for (columns, height) in [(1, 1), (40, 7), (39, 8)] {
        rows(&mut watched(), columns, height);
    }
}

#[test]
fn any_size_is_drawn_in_any_mode() {
    let mut state = watched();
    for keys in ["1", "2", "3", "4", "5", "?", "x/", "abc", "\n"] {
        press(&mut state, keys);
        for size in (1..100).step_by(9) {
            assert_eq!(rows(&mut state, size, 9).len(), 9);
            assert_eq!(rows(&mut state, 60, size).len(), usize::from(size));
        }
    }
}

#[test]
fn a_luge_that_is_away_leaves_the_names_and_says_why() {
    let mut state = watched();
    state.observed.add(Err(SourceError::Away("no Luge answers at /run/luge.sock".into())));
    let shown = rows(&mut state, 80, 24);
    assert_eq!(shown[22], "no Luge answers at /run/luge.sock");
    assert!(shown[4].starts_with("nvme0n1     - "), "{:?}", shown[4]);
    state.observed.add(Ok(Sled::at(3)));
    let shown = rows(&mut state, 80, 24);
    assert_eq!(shown[22], "");
    assert!(shown[4].starts_with("nvme0n1 1.00k"), "{:?}", shown[4]);
}

#[test]
fn a_filter_keeps_the_rows_with_its_word() {
    let mut state = watched();
    press(&mut state, "/SCR");
    assert_eq!(rows(&mut state, 80, 24)[23], "Show rows with: SCR_  (Enter ends)");
    press(&mut state, "\n");
    let shown = rows(&mut state, 80, 24);
    assert!(shown[4].starts_with("scratch"), "{shown:#?}");
    assert_eq!(shown[5], "");
    press(&mut state, "/x\n");
    assert_eq!(rows(&mut state, 80, 24)[4], "(none with that word: / changes it)");
}

#[test]
fn the_order_can_be_reversed_and_another_column_chosen() {
    let mut state = watched();
    press(&mut state, "r");
    assert!(rows(&mut state, 80, 24)[4].starts_with("scratch"));
    press(&mut state, "<");
    assert!(rows(&mut state, 80, 24)[4].starts_with("nvme0n1"), "by name");
}

/// State with volumes `v10` to `v59`, sorted by name.
fn crowded() -> State {
    let mut state = watched();
    let now = state.observed.now.as_mut().unwrap();
    let volume = now.volumes[0].clone();
    now.volumes = (10..60).map(|number| Volume { name: format!("v{number}"), ..volume.clone() }).collect();
    press(&mut state, "<");
    state
}

#[test]
fn scrolling_ends_at_the_first_and_at_the_last_row() {
    let mut state = crowded();
    for (key, first) in [
        (Key::Up, "v10"),
        (Key::Down, "v11"),
        (Key::PageDown, "v29"),
        (Key::End, "v42"),
        (Key::Down, "v42"),
        (Key::PageUp, "v24"),
        (Key::Home, "v10"),
    ] {
        state.press(key);
        let shown = rows(&mut state, 80, 24);
        assert!(shown[4].starts_with(first), "{key:?}: {:?}", shown[4]);
    }
}

#[test]
fn leaving_needs_one_key_in_every_mode() {
    for keys in ["", "?", "/"] {
        let mut state = watched();
        press(&mut state, keys);
        assert_eq!(state.press(Key::Cancel), Effect::Leave, "{keys}");
    }
    assert_eq!(watched().press(Key::Char('q')), Effect::Leave);
}
