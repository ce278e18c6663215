//! Time-outs of a controller that is lost, as clients give them: checked as SPDK does, and passed over.
//!
//! They are about a network, where a controller may come back. An SSD on PCIe that does not answer
//! is reset by its own supervisor.

use super::attach::Attach;
use luge_rpc::RpcError;
use std::sync::Once;

const LOSS: &str = "ctrlr_loss_timeout_sec";
const DELAY: &str = "reconnect_delay_sec";
const FAIL: &str = "fast_io_fail_timeout_sec";

/// Checks the time-outs against each other; 0 is off, and -1 no end.
///
/// # Errors
/// -22 where they contradict each other.
pub fn check(params: &Attach) -> Result<(), RpcError> {
    let loss = i64::from(params.ctrlr_loss_timeout_sec.unwrap_or(0));
    let delay = i64::from(params.reconnect_delay_sec.unwrap_or(0));
    let fail = i64::from(params.fast_io_fail_timeout_sec.unwrap_or(0));
    match contradiction(loss, delay, fail) {
        Some((name, what)) => Err(RpcError::invalid(format_args!("parameter `{name}`: {what}"))),
        None => {
            pass_over(loss);
            Ok(())
        }
    }
}

/// Parameter that does not go with the others, and what it must be.
fn contradiction(loss: i64, delay: i64, fail: i64) -> Option<(&'static str, String)> {
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

/// Says once that the time-outs have no effect.
fn pass_over(loss: i64) {
    static SAID: Once = Once::new();
    if loss != 0 {
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
    fn time_outs_that_go_together_are_taken_and_others_name_the_one_that_does_not() {
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
            let found = contradiction(loss, delay, fail).map(|(name, _)| name);
            assert_eq!(found, wrong, "{loss} {delay} {fail}");
        }
    }
}
