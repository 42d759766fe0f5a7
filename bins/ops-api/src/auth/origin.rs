//! Whether a call was made by a page of our own: a browser sends the cookie, and reaches loopback, on behalf of any
//! page it shows.
//!
//! A call with a token in a header is let through, since no page of another site can set one. Without a token, only the
//! names of loopback and those that were configured are answered to, or a page could rebind its own name to us.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderName, StatusCode, header};

use super::peer::Trust;
use super::{Caller, Proof};
use crate::error::ApiError;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// Refuses what a page of another site may have caused.
pub(crate) fn check(
    request: &Request,
    caller: &Caller,
    trust: &Trust,
    allowed_hosts: &[String],
) -> Result<(), ApiError> {
    let own = trust.own_host(request);
    // A page that rebound its name calls from this very machine, and may claim any name but that of `Host`.
    if caller.proof == Proof::Nothing
        && !(own.is_some()
            && Trust::names(request).all(|name| name.is_some_and(|name| is_ours(name, allowed_hosts))))
    {
        let text = "this service is not called by that name (OPS_ALLOWED_HOSTS)";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "host_not_allowed", text));
    }
    if caller.proof == Proof::Header || request.method().is_safe() {
        return Ok(());
    }
    let site = text(request, &FETCH_SITE);
    let origin = text(request, &header::ORIGIN);
    let from_ours = origin.is_some_and(|origin| own.is_some_and(|own| is_same(origin, own)));
    let good = match (site, caller.proof) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        // No browser: it would name the origin of its page.
        (None, Proof::Nothing) => origin.is_none() || from_ours,
        (None, _) => is_deliberate(request) || from_ours,
    };
    if good {
        return Ok(());
    }
    let text = "a call by cookie must come from a page of this site, or say Content-Type: application/json";
    Err(ApiError::new(StatusCode::FORBIDDEN, "cross_site", text))
}

fn text<'a>(request: &'a Request, name: &HeaderName) -> Option<&'a str> {
    // What is no text is not from a browser that plays by the rules: it matches nothing.
    let value = request.headers().get(name)?;
    Some(value.to_str().unwrap_or("?"))
}

/// What a form of another site cannot send, nor a script without being asked whether it may.
fn is_deliberate(request: &Request) -> bool {
    let kind = text(request, &header::CONTENT_TYPE).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json") || request.headers().contains_key(REQUESTED_WITH)
}

/// Whether an origin such as `https://gateway.example:8443` is where `own` names.
fn is_same(origin: &str, own: &str) -> bool {
    let Some((scheme, place)) = origin.split_once("://") else {
        return false;
    };
    let usual = match scheme {
        "https" => "443",
        "http" => "80",
        _ => return false,
    };
    let (their_name, their_port) = split(place);
    let (our_name, our_port) = split(own);
    // A proxy may pass the name on without its port.
    let same_port = our_port.is_none_or(|port| their_port.unwrap_or(usual) == port);
    !our_name.is_empty() && their_name.eq_ignore_ascii_case(our_name) && same_port
}

fn is_ours(own: &str, allowed: &[String]) -> bool {
    let (name, _) = split(own);
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let address = bare.unwrap_or(name).parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
        || allowed
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(own) || allowed.eq_ignore_ascii_case(name))
}

/// Name and port.
fn split(place: &str) -> (&str, Option<&str>) {
    match place.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => (name, Some(port)),
        _ => (place, None),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Method;

    use super::*;

    fn verdict(proof: Proof, method: Method, headers: &[(&'static str, &str)]) -> Option<String> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let mut caller = Caller::for_test("one");
        caller.proof = proof;
        let allowed = ["lab.example".to_owned()];
        let refusal = check(&request, &caller, &Trust::new(&[]), &allowed).err()?;
        Some(refusal.body()["code"].as_str().unwrap().to_owned())
    }

    #[test]
    fn a_call_by_cookie_has_to_come_from_a_page_of_ours_or_be_deliberate() {
        let host = ("host", "gw.example");
        for good in [
            &[("sec-fetch-site", "same-origin")][..],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://gw.example"), host],
            &[("origin", "http://GW.example:80"), host],
            &[("origin", "https://gw.example:8443"), ("host", "gw.example:8443")],
            &[("content-type", "application/json; charset=utf-8")],
            &[
                ("content-type", "Application/JSON"),
                ("origin", "https://evil.example"),
                host,
            ],
            &[("x-requested-with", "fetch")],
        ] {
            assert_eq!(verdict(Proof::Cookie, Method::POST, good), None, "{good:?}");
        }
        for bad in [
            &[][..],
            &[host],
            &[
                ("sec-fetch-site", "cross-site"),
                ("content-type", "application/json"),
            ],
            &[
                ("sec-fetch-site", "same-site"),
                ("origin", "https://gw.example"),
                host,
            ],
            &[("origin", "https://evil.example"), host],
            &[("origin", "https://gw.example.evil.example"), host],
            &[("origin", "https://evil.example/gw.example"), host],
            &[("origin", "null"), host],
            &[("origin", "https://gw.example")],
            &[("origin", "https://gw.example:8443"), ("host", "gw.example:443")],
            &[("content-type", "text/plain; application/json"), host],
            &[("content-type", "application/x-www-form-urlencoded"), host],
        ] {
            let code = verdict(Proof::Cookie, Method::POST, bad);
            assert_eq!(code.as_deref(), Some("cross_site"), "{bad:?}");
            assert_eq!(verdict(Proof::Header, Method::POST, bad), None, "{bad:?}");
            assert_eq!(verdict(Proof::Cookie, Method::GET, bad), None, "{bad:?}");
        }
    }

    /// The browser that a rebound page runs in calls from loopback, as a trusted proxy does, and lets the page set what
    /// headers it likes, but for `Host`.
    #[test]
    fn a_page_that_rebinds_its_name_cannot_claim_another() {
        let trust = Trust::new(&["127.0.0.0/8".parse().unwrap()]);
        let verdict = |headers: &[(&'static str, &str)]| {
            let mut request = Request::new(Body::empty());
            let peer = ops_runtime::http::Peer("127.0.0.1:4711".parse().unwrap());
            request.extensions_mut().insert(peer);
            for (name, value) in headers {
                request.headers_mut().append(*name, value.parse().unwrap());
            }
            let mut caller = Caller::for_test("one");
            caller.proof = Proof::Nothing;
            check(&request, &caller, &trust, &["lab.example".to_owned()]).is_ok()
        };
        assert!(!verdict(&[
            ("host", "evil.example:8081"),
            ("x-forwarded-host", "localhost")
        ]));
        assert!(!verdict(&[
            ("host", "localhost"),
            ("x-forwarded-host", "evil.example")
        ]));
        assert!(!verdict(&[
            ("host", "localhost"),
            ("x-forwarded-host", "localhost"),
            ("x-forwarded-host", "evil.example")
        ]));
        assert!(!verdict(&[("host", "localhost"), ("host", "evil.example")]));
        assert!(verdict(&[
            ("host", "127.0.0.1:8081"),
            ("x-forwarded-host", "lab.example")
        ]));
        assert!(verdict(&[("host", "localhost")]));
    }

    #[test]
    fn without_a_token_only_names_of_loopback_are_answered_to() {
        for good in [
            "localhost",
            "LOCALHOST:8081",
            "127.0.0.1",
            "127.1.2.3:80",
            "[::1]:8081",
            "lab.example:1",
        ] {
            for method in [Method::GET, Method::POST] {
                assert_eq!(verdict(Proof::Nothing, method, &[("host", good)]), None, "{good}");
            }
        }
        for bad in [
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "127.0.0.1.evil.example",
            "",
        ] {
            for method in [Method::GET, Method::POST] {
                let code = verdict(Proof::Nothing, method, &[("host", bad)]);
                assert_eq!(code.as_deref(), Some("host_not_allowed"), "{bad}");
            }
        }
        let foreign = [("host", "localhost:8081"), ("origin", "https://evil.example")];
        assert_eq!(
            verdict(Proof::Nothing, Method::POST, &foreign).as_deref(),
            Some("cross_site")
        );
        let near = [("host", "localhost:8081"), ("origin", "http://localhost:3000")];
        assert_eq!(
            verdict(Proof::Nothing, Method::POST, &near).as_deref(),
            Some("cross_site")
        );
        let own = [("host", "localhost:8081"), ("origin", "http://localhost:8081")];
        assert_eq!(verdict(Proof::Nothing, Method::POST, &own), None);
    }
}
