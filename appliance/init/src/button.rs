//! Power button: key presses that the kernel reports as input events.
//!
//! Not here: the effect of a press (`power`).

use rustix::event::{PollFd, PollFlags, poll};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::thread;

/// Size of the kernel's `struct input_event` on a 64-bit machine: two words of time, then type, code
/// and value.
const EVENT_BYTES: usize = 24;
/// `EV_KEY` of linux/input-event-codes.h.
const KEY_EVENT: u16 = 1;
/// `KEY_POWER` of linux/input-event-codes.h.
const POWER_KEY: u16 = 116;

/// Calls `pressed` in a thread of its own each time the power button is pressed. Returns the number
/// of input devices that are read; without any, no thread is started.
///
/// # Errors
/// The thread cannot be started.
pub fn watch_power_button(pressed: impl Fn() + Send + 'static) -> io::Result<usize> {
    let devices = devices(Path::new("/dev/input"));
    let count = devices.len();
    if count > 0 {
        thread::Builder::new().name("power button".into()).spawn(move || read_all(devices, &pressed))?;
    }
    Ok(count)
}

fn devices(folder: &Path) -> Vec<File> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let events = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("event"));
    events.filter_map(|entry| File::open(entry.path()).ok()).collect()
}

/// Reads devices until the last one is removed.
fn read_all(mut devices: Vec<File>, pressed: &impl Fn()) {
    while !devices.is_empty() {
        let mut fds: Vec<PollFd<'_>> = devices.iter().map(|file| PollFd::new(file, PollFlags::IN)).collect();
        if poll(&mut fds, None).is_err() {
            continue;
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>().into_iter();
        devices.retain_mut(|device| ready.next() != Some(true) || read_events(device, pressed));
    }
}

/// Reads the events of a device; returns false if the device was removed.
fn read_events(device: &mut impl Read, pressed: &impl Fn()) -> bool {
    // Evdev returns whole events only.
    let mut buffer = [0; EVENT_BYTES * 16];
    match device.read(&mut buffer) {
        Ok(0) | Err(_) => false,
        Ok(count) => {
            (0..presses(&buffer[..count])).for_each(|_| pressed());
            true
        }
    }
}

/// Number of presses of the power button in these events.
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
    fn only_a_press_of_the_power_key_counts() {
        let press = event(1, 116, 1);
        let others = [event(1, 116, 0), event(1, 116, 2), event(0, 0, 0), event(1, 30, 1), event(5, 116, 1)];
        assert_eq!(presses(&others.concat()), 0);
        assert_eq!(presses(&[press.clone(), others.concat(), press].concat()), 2);
    }

    #[test]
    fn an_incomplete_event_does_not_count() {
        let press = event(1, 116, 1);
        for length in 0..press.len() {
            assert_eq!(presses(&press[..length]), 0);
        }
    }

    #[test]
    fn a_device_is_read_until_it_is_removed() {
        let count = Cell::new(0);
        let pressed = || count.set(count.get() + 1);
        let mut device = io::Cursor::new(event(1, 116, 1));
        assert!(read_events(&mut device, &pressed));
        assert!(!read_events(&mut device, &pressed));
        assert_eq!(count.get(), 1);
    }
}
