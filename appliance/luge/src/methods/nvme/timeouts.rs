//! Timeouts of a lost controller, as clients give them: checked as SPDK does, and then ignored.
//!
//! Such timeouts are about a network, where a controller may come back. An SSD on PCIe that does not answer
//! is reset by its own supervisor.

use luge_rpc::RpcError;
use std::sync::Once;

const LOSS: &str = "ctrlr_loss_timeout_sec";
const DELAY: &str = "reconnect_delay_sec";
const FAIL: &str = "fast_io_fail_timeout_sec";

/// Timeouts of a controller that is lost, in seconds; 0 is off.
#[derive(Clone, Copy)]
pub struct LossTimeouts {
    /// Time until the controller is given up (`ctrlr_loss_timeout_sec`); -1 for never.
    pub loss_s: i64,
    /// Time between two attempts to reconnect (`reconnect_delay_sec`).
    pub delay_s: i64,
    /// Time until requests fail (`fast_io_fail_timeout_sec`).
    pub fail_s: i64,
}

/// Checks the timeouts against each other.
///
/// # Errors
/// -22 where the timeouts contradict each other.
pub fn check(timeouts: LossTimeouts) -> Result<(), RpcError> {
    match contradiction(timeouts) {
        Some((name, what)) => Err(RpcError::invalid(format_args!("parameter `{name}`: {what}"))),
        None => {
            pass_over(timeouts);
            Ok(())
        }
    }
}

/// Finds a parameter that contradicts the others; returns its name and the values it may have.
fn contradiction(timeouts: LossTimeouts) -> Option<(&'static str, String)> {
    let LossTimeouts { loss_s: loss, delay_s: delay, fail_s: fail } = timeouts;
    let no_end = loss == -1;
    match (loss, delay, fail) {
        (..=-2, _, _) => Some((LOSS, "-1 or more".into())),
        (0, 0, 0) => None,
        (0, 0, _) => Some((FAIL, format!("0, as there is no `{LOSS}`"))),
        (0, _, _) => Some((DELAY, format!("0, as there is no `{LOSS}`"))),
        (_, 0, _) => Some((DELAY, format!("1 or more, as there is a `{LOSS}`"))),
        _ if !no_end && delay > loss => Some((DELAY, format!("no more than `{LOSS}`"))),
        (_, _, 0) => None,
        _ if fail < delay => Some((FAIL, format!("no less than `{DELAY}`"))),
        _ if !no_end && fail > loss => Some((FAIL, format!("no more than `{LOSS}`"))),
        _ => None,
    }
}

/// Logs once that the timeouts have no effect.
fn pass_over(timeouts: LossTimeouts) {
    static SAID: Once = Once::new();
    if timeouts.loss_s != 0 {
        SAID.call_once(|| {
            tracing::warn!(
                "{LOSS}, {DELAY} and {FAIL} are passed over: an SSD on PCIe that does not answer for 30 s \
                 is reset, and stays attached until it is detached"
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_that_go_together_are_taken_and_others_name_the_one_that_does_not() {
        for (loss, delay, fail, wrong) in [
            (0, 0, 0, None),
            (30, 2, 15, None),
            (15, 2, 10, None),
            (1, 1, 0, None),
            (1, 1, 1, None),
            (-1, 5, 0, None),
            (-1, 5, 5, None),
            (-1, 5, 1 << 31, None),
            (-2, 5, 0, Some(LOSS)),
            (0, 1, 0, Some(DELAY)),
            (0, 1, 1, Some(DELAY)),
            (0, 0, 1, Some(FAIL)),
            (5, 0, 0, Some(DELAY)),
            (-1, 0, 0, Some(DELAY)),
            (5, 6, 0, Some(DELAY)),
            (5, 3, 2, Some(FAIL)),
            (5, 3, 6, Some(FAIL)),
            (-1, 3, 2, Some(FAIL)),
        ] {
            let found = contradiction(LossTimeouts { loss_s: loss, delay_s: delay, fail_s: fail })
                .map(|(name, _)| name);
            assert_eq!(found, wrong, "{loss} {delay} {fail}");
        }
    }
}
