//! The power button: an input event, as the kernel's ACPI button driver reports it.
//!
//! Not here: what a press leads to (`power`).

use rustix::event::{PollFd, PollFlags, poll};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::thread;

/// The size of the kernel's `struct input_event` on a 64-bit machine, in bytes: two words of time,
/// then type, code and value.
const EVENT_BYTES: usize = 24;
/// `EV_KEY` of linux/input-event-codes.h.
const KEY_EVENT: u16 = 1;
/// `KEY_POWER` there.
const POWER_KEY: u16 = 116;

/// Calls `pressed` each time the power button is pressed, from a thread of its own. Returns how
/// many input devices are watched; with none there is no thread.
///
/// # Errors
/// If the thread cannot be started.
pub fn watch_power_button(pressed: impl Fn() + Send + 'static) -> io::Result<usize> {
    let devices = devices(Path::new("/dev/input"));
    let count = devices.len();
    if count > 0 {
        thread::Builder::new().name("power button".into()).spawn(move || watch(devices, &pressed))?;
    }
    Ok(count)
}

fn devices(folder: &Path) -> Vec<File> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let events = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("event"));
    events.filter_map(|entry| File::open(entry.path()).ok()).collect()
}

/// Ends when the last device is gone.
fn watch(mut devices: Vec<File>, pressed: &impl Fn()) {
    while !devices.is_empty() {
        let mut fds: Vec<PollFd<'_>> = devices.iter().map(|file| PollFd::new(file, PollFlags::IN)).collect();
        if poll(&mut fds, None).is_err() {
            continue;
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>().into_iter();
        devices.retain_mut(|device| ready.next() != Some(true) || hear(device, pressed));
    }
}

/// Reads what a device has to say. `false` if it is gone.
fn hear(device: &mut impl Read, pressed: &impl Fn()) -> bool {
    // Evdev hands out whole events only.
    let mut buffer = [0; EVENT_BYTES * 16];
    match device.read(&mut buffer) {
        Ok(0) | Err(_) => false,
        Ok(count) => {
            (0..presses(&buffer[..count])).for_each(|_| pressed());
            true
        }
    }
}

/// How often the power button goes down in these events.
fn presses(bytes: &[u8]) -> usize {
    let (events, _) = bytes.as_chunks::<EVENT_BYTES>();
    events.iter().filter(|event| is_press(event)).count()
}

fn is_press(event: &[u8; EVENT_BYTES]) -> bool {
    let [.., k0, k1, c0, c1, v0, v1, v2, v3] = *event;
    let kind = u16::from_ne_bytes([k0, k1]);
    let code = u16::from_ne_bytes([c0, c1]);
    let value = i32::from_ne_bytes([v0, v1, v2, v3]);
    (kind, code, value) == (KEY_EVENT, POWER_KEY, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn event(kind: u16, code: u16, value: i32) -> Vec<u8> {
        let mut bytes = vec![0xAA; 16];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(code.to_ne_bytes());
        bytes.extend(value.to_ne_bytes());
        bytes
    }

    #[test]
    fn only_the_power_key_going_down_counts() {
        let press = event(1, 116, 1);
        let others = [event(1, 116, 0), event(1, 116, 2), event(0, 0, 0), event(1, 30, 1), event(5, 116, 1)];
        assert_eq!(presses(&others.concat()), 0);
        assert_eq!(presses(&[press.clone(), others.concat(), press].concat()), 2);
    }

    #[test]
    fn half_an_event_is_none() {
        let press = event(1, 116, 1);
        for length in 0..press.len() {
            assert_eq!(presses(&press[..length]), 0);
        }
    }

    #[test]
    fn a_device_that_is_gone_is_not_watched_any_more() {
        let count = Cell::new(0);
        let pressed = || count.set(count.get() + 1);
        let mut device = io::Cursor::new(event(1, 116, 1));
        assert!(hear(&mut device, &pressed));
        assert!(!hear(&mut device, &pressed));
        assert_eq!(count.get(), 1);
    }
}
