//! Paths, and what is served there.

use crate::http::{Request, Response, Status};
use crate::lookout::Lookout;
use crate::metrics::{MEDIA_TYPE, metrics};
use crate::sled_json::sled_json;

/// Answers a request.
pub fn answer(request: &Request, lookout: &Lookout) -> Response {
    match request.path.as_str() {
        "/" => Response::ok("text/html; charset=utf-8", include_str!("page/page.html")),
        "/page.css" => Response::ok("text/css; charset=utf-8", include_str!("page/page.css")),
        "/cards.js" => Response::ok(SCRIPT, include_str!("page/cards.js")),
        "/heat.js" => Response::ok(SCRIPT, include_str!("page/heat.js")),
        "/links.js" => Response::ok(SCRIPT, include_str!("page/links.js")),
        "/numbers.js" => Response::ok(SCRIPT, include_str!("page/numbers.js")),
        "/page.js" => Response::ok(SCRIPT, include_str!("page/page.js")),
        "/rates.js" => Response::ok(SCRIPT, include_str!("page/rates.js")),
        "/sled.js" => Response::ok(SCRIPT, include_str!("page/sled.js")),
        "/api/sled.json" => Response::ok(JSON, sled_json(&lookout.look()).to_string()),
        "/metrics" => Response::ok(MEDIA_TYPE, metrics(lookout.look().sled.as_ref().ok())),
        "/grafana.json" => Response::ok(JSON, include_str!("../dashboards/luge.json")),
        _ => Response::refusal(
            Status::NotFound,
            "There is nothing here. The page is at /, its numbers at /api/sled.json, the metrics at /metrics, a \
             dashboard for Grafana at /grafana.json.",
        ),
    }
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const JSON: &str = "application/json";
