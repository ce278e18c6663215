//! Numbers as a person reads them: three or four digits and a unit.

/// Text of a number that is absent.
pub const ABSENT: &str = "-";

/// A number without a unit, such as `7`, `12.5k` or `3.10M`.
#[must_use]
pub fn count(number: f64) -> String {
    let (scaled, letter) = scale(number, 1000.0, &["", "k", "M", "G", "T", "P"]);
    if letter.is_empty() && number.fract() == 0.0 { format!("{number:.0}") } else { digits(scaled, letter) }
}

/// A number of bytes, such as `512 B` or `1.50 GiB`.
#[must_use]
pub fn bytes(number: f64) -> String {
    let (scaled, unit) = scale(number, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB"]);
    if unit == " B" { format!("{scaled:.0}{unit}") } else { digits(scaled, unit) }
}

/// A size of a volume in GiB, such as `0.5 GiB` or `3726 GiB`.
#[must_use]
pub fn gibibytes(bytes: f64) -> String {
    let gib = bytes / f64::from(1 << 30);
    let places = if gib == gib.round() || gib >= 1000.0 { 0 } else { 3 - integer_digits(gib).min(3) };
    format!("{gib:.places$} GiB")
}

/// A latency in microseconds, such as `0.85 us` or `1234 us`.
#[must_use]
pub fn microseconds(nanoseconds: f64) -> String {
    digits(nanoseconds / 1000.0, " us")
}

/// A time in the unit that needs four digits at most, such as `0.85 us`, `9876 us`, `12.3 ms` or `4.56 s`.
#[must_use]
pub fn duration(nanoseconds: f64) -> String {
    match nanoseconds / 1000.0 {
        us if us < 9999.5 => microseconds(nanoseconds),
        us if us < 9_999_500.0 => digits(us / 1e3, " ms"),
        us => digits(us / 1e6, " s"),
    }
}

/// A share, given from 0 to 1, such as `7 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Divides by `step` until less than that is left; returns the rest and its unit.
fn scale<'a>(number: f64, step: f64, units: &[&'a str]) -> (f64, &'a str) {
    let mut scaled = number;
    let mut unit = 0;
    // 999.5 would be shown as 1000.
    while scaled >= step - 0.5 && unit + 1 < units.len() {
        scaled /= step;
        unit += 1;
    }
    (scaled, units.get(unit).copied().unwrap_or_default())
}

/// Three digits, or all before the point, with a unit.
fn digits(number: f64, unit: &str) -> String {
    let places = if number == 0.0 { 0 } else { 3 - integer_digits(number).min(3) };
    format!("{number:.places$}{unit}")
}

/// Number of digits before the point, after rounding; at least one.
fn integer_digits(number: f64) -> usize {
    match number {
        small if small < 9.995 => 1,
        middle if middle < 99.95 => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_three_digits_and_a_letter() {
        let shown = [0.0, 7.0, 0.5, 12.34, 999.0, 999.7, 12_345.0, 3_100_000.0].map(count);
        assert_eq!(shown, ["0", "7", "0.50", "12.3", "999", "1.00k", "12.3k", "3.10M"]);
    }

    #[test]
    fn bytes_have_binary_units() {
        let shown = [0.0, 512.0, 1024.0, 1_610_612_736.0, 1_048_575.0].map(bytes);
        assert_eq!(shown, ["0 B", "512 B", "1.00 KiB", "1.50 GiB", "1.00 MiB"]);
    }

    #[test]
    fn sizes_of_volumes_are_gibibytes_whatever_their_size() {
        let shown = [67_108_864.0, 1_073_741_824.0, 4_000_787_030_016.0, 0.0].map(gibibytes);
        assert_eq!(shown, ["0.06 GiB", "1 GiB", "3726 GiB", "0 GiB"]);
    }

    #[test]
    fn latencies_are_microseconds_whatever_their_length() {
        let shown = [0.0, 850.0, 12_340.0, 1_234_000.0].map(microseconds);
        assert_eq!(shown, ["0 us", "0.85 us", "12.3 us", "1234 us"]);
    }

    #[test]
    fn times_have_the_unit_that_makes_them_short() {
        let shown = [850.0, 9_999_000.0, 9_999_900.0, 20_060_000.0, 9_999_400_000.0, 1.0e10].map(duration);
        assert_eq!(shown, ["0.85 us", "9999 us", "10.0 ms", "20.1 ms", "9999 ms", "10.0 s"]);
    }

    #[test]
    fn numbers_that_are_too_large_are_shown_all_the_same() {
        assert_eq!(count(1e30), format!("{:.0}P", 1e15));
        assert_eq!(percent(0.07), "7 %");
    }
}
