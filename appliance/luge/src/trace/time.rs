//! Times of a trace, in UTC.

const SECONDS_PER_DAY: u64 = 86_400;

/// Days of 400 years, and of 100, 4 and one, each without the leap day at its end.
const DAYS: [u64; 4] = [146_097, 36_524, 1461, 365];

/// Days before each month of a year that begins in March.
const MONTH_STARTS: [u64; 12] = [0, 31, 61, 92, 122, 153, 184, 214, 245, 275, 306, 337];

/// Days from 1 March of the year 0 to 1 January 1970.
const DAYS_TO_1970: u64 = 719_468;

/// A time in nanoseconds since 1970 as RFC 3339 writes it, with microseconds.
#[must_use]
pub fn rfc3339(time_ns: u64) -> String {
    let (seconds, micros) = (time_ns / 1_000_000_000, time_ns / 1000 % 1_000_000);
    let (year, month, day) = date(seconds / SECONDS_PER_DAY);
    let of_day = seconds % SECONDS_PER_DAY;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Year, month and day, by the number of days since 1970. Years are counted from March, so that a leap day is the last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_TO_1970;
    let (of_400, rest) = (days / DAYS[0], days % DAYS[0]);
    let of_100 = (rest / DAYS[1]).min(3);
    let rest = rest - of_100 * DAYS[1];
    let (of_4, rest) = (rest / DAYS[2], rest % DAYS[2]);
    let of_1 = (rest / DAYS[3]).min(3);
    let rest = rest - of_1 * DAYS[3];
    let year = of_400 * 400 + of_100 * 100 + of_4 * 4 + of_1;
    let month = MONTH_STARTS.iter().rposition(|&start| start <= rest).unwrap_or(0);
    let day = rest - MONTH_STARTS[month] + 1;
    match month as u64 {
        month @ 0..10 => (year, month + 3, day),
        month => (year + 1, month - 9, day),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_that_date_prints() {
        for (seconds, time) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (951_868_799, "2000-02-29T23:59:59.000000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(rfc3339(seconds * 1_000_000_000), time);
        }
        assert_eq!(rfc3339(1_234_567), "1970-01-01T00:00:00.001234Z");
    }
}
