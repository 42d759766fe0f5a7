//! Authentication of the simulated host: Basic per request, NTLM (raw or inside SPNEGO) per connection.

mod basic;
mod messages;
mod ntlm;
mod seal;
mod spnego;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::effects::count;
use crate::faults::At;
use crate::host::Inner;
use crate::spec::CbtLevel;
use ntlm::{Acceptor, Account, Names};
pub(crate) use seal::Session;
use spnego::{ClientToken, State};

/// What a request is told.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Go on as this user. The token, if any, goes out in `WWW-Authenticate` of the answer.
    Pass { user: String, token: Option<String> },
    /// 401 with these `WWW-Authenticate` values.
    Challenge(Vec<String>),
}

/// Authentication state of one TCP connection.
#[derive(Default)]
pub(crate) struct Gate {
    pending: Option<Pending>,
    passed: Option<String>,
    session: Option<Session>,
}

/// A handshake that waits for its next token.
struct Pending {
    /// The mechanism list of SPNEGO, DER-encoded, when the handshake is wrapped.
    mechanisms: Option<Vec<u8>>,
    /// `None` while SPNEGO still waits for the first NTLM message.
    acceptor: Option<Acceptor>,
}

impl Gate {
    /// The sealing context of the connection, once NTLM has passed.
    pub(crate) fn session(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }

    /// Which message of the handshake this header carries.
    pub(crate) fn place(&self, header: Option<&str>) -> Option<At> {
        let (scheme, _) = header?.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let third = self.pending.as_ref().is_some_and(|p| p.acceptor.is_some());
        Some(if third { At::Authenticate } else { At::Negotiate })
    }

    /// Judges a request by its `Authorization` header. `certificate` is the hash of the certificate shown, over TLS.
    pub(crate) fn check(
        &mut self,
        host: &Inner,
        header: Option<&str>,
        certificate: Option<[u8; 32]>,
    ) -> Verdict {
        let Some((scheme, token)) = header.and_then(|h| h.trim().split_once(' ')) else {
            return match &self.passed {
                Some(user) => Verdict::Pass {
                    user: user.clone(),
                    token: None,
                },
                None => refuse(host),
            };
        };
        let policy = host.spec.auth;
        let scheme = scheme.to_ascii_lowercase();
        match (scheme.as_str(), BASE64.decode(token.trim())) {
            ("basic", Ok(pair)) if policy.basic => {
                if basic::matches(&pair, &host.spec.user, &host.spec.password) {
                    return Verdict::Pass {
                        user: host.spec.user.clone(),
                        token: None,
                    };
                }
                count(&host.counts.refused_credentials);
                refuse(host)
            }
            ("ntlm", Ok(token)) if policy.ntlm => self.raw(host, "NTLM", &token, certificate),
            ("negotiate", Ok(token)) if policy.negotiate => {
                if messages::is_ntlm(&token) {
                    self.raw(host, "Negotiate", &token, certificate)
                } else {
                    self.wrapped(host, &token, certificate)
                }
            }
            _ => refuse(host),
        }
    }

    /// A raw NTLM message.
    fn raw(&mut self, host: &Inner, scheme: &str, token: &[u8], certificate: Option<[u8; 32]>) -> Verdict {
        match self.pending.take() {
            Some(Pending {
                acceptor: Some(acceptor),
                ..
            }) if messages::kind(token) == Some(3) => match self.finish(host, acceptor, token, certificate) {
                Some(()) => Verdict::Pass {
                    user: host.spec.user.clone(),
                    token: None,
                },
                None => refuse(host),
            },
            _ => {
                self.forget();
                let Ok(acceptor) = begin(host, token) else {
                    return refuse(host);
                };
                let challenge = format!("{scheme} {}", BASE64.encode(acceptor.challenge()));
                self.pending = Some(Pending {
                    mechanisms: None,
                    acceptor: Some(acceptor),
                });
                Verdict::Challenge(vec![challenge])
            }
        }
    }

    /// A SPNEGO token.
    fn wrapped(&mut self, host: &Inner, token: &[u8], certificate: Option<[u8; 32]>) -> Verdict {
        match spnego::parse(token) {
            Some(ClientToken::Init {
                mechanisms,
                ntlm_offered: true,
                ntlm_first,
                token,
            }) => {
                self.forget();
                let ntlm = token.filter(|t| ntlm_first && messages::is_ntlm(t));
                let acceptor = match ntlm.map(|t| begin(host, t)).transpose() {
                    Ok(acceptor) => acceptor,
                    Err(_) => return refuse(host),
                };
                // Another mechanism came first, so the choice must be protected by a MIC.
                let state = if ntlm_first {
                    State::Incomplete
                } else {
                    State::RequestMic
                };
                let answer = spnego::answer(state, true, acceptor.as_ref().map(Acceptor::challenge), None);
                self.pending = Some(Pending {
                    mechanisms: Some(mechanisms.to_vec()),
                    acceptor,
                });
                Verdict::Challenge(vec![format!("Negotiate {}", BASE64.encode(answer))])
            }
            Some(ClientToken::Response {
                token: Some(ntlm),
                mic,
            }) => self.wrapped_next(host, ntlm, mic, certificate),
            _ => refuse(host),
        }
    }

    fn wrapped_next(
        &mut self,
        host: &Inner,
        ntlm: &[u8],
        mic: Option<&[u8]>,
        certificate: Option<[u8; 32]>,
    ) -> Verdict {
        let Some(Pending {
            mechanisms: Some(mechanisms),
            acceptor,
        }) = self.pending.take()
        else {
            return refuse(host);
        };
        let Some(acceptor) = acceptor else {
            let Ok(acceptor) = begin(host, ntlm) else {
                return refuse(host);
            };
            let answer = spnego::answer(State::Incomplete, false, Some(acceptor.challenge()), None);
            self.pending = Some(Pending {
                mechanisms: Some(mechanisms),
                acceptor: Some(acceptor),
            });
            return Verdict::Challenge(vec![format!("Negotiate {}", BASE64.encode(answer))]);
        };
        if self.finish(host, acceptor, ntlm, certificate).is_none() {
            return refuse(host);
        }
        let own_mic = match (mic, self.session.as_mut()) {
            (Some(mic), Some(session)) => match session.exchange_list_mic(&mechanisms, mic) {
                Ok(own) => Some(own),
                Err(_) => {
                    self.forget();
                    count(&host.counts.refused_credentials);
                    return refuse(host);
                }
            },
            _ => None,
        };
        let answer = spnego::answer(
            State::Completed,
            false,
            None,
            own_mic.as_ref().map(<[u8; 16]>::as_slice),
        );
        Verdict::Pass {
            user: host.spec.user.clone(),
            token: Some(format!("Negotiate {}", BASE64.encode(answer))),
        }
    }

    fn finish(
        &mut self,
        host: &Inner,
        acceptor: Acceptor,
        token: &[u8],
        certificate: Option<[u8; 32]>,
    ) -> Option<()> {
        let account = Account {
            user: &host.spec.user,
            password: &host.spec.password,
        };
        let level = if certificate.is_some() {
            host.spec.cbt
        } else {
            CbtLevel::None
        };
        match acceptor.accept(
            token,
            &account,
            level,
            certificate.map(|hash| seal::channel_binding(&hash)),
        ) {
            Ok(session) => {
                count(&host.counts.handshakes);
                self.session = session;
                self.passed = Some(host.spec.user.clone());
                Some(())
            }
            Err(error) => {
                tracing::debug!(host.name = %host.spec.name, %error, "NTLM refused");
                count(&host.counts.refused_credentials);
                None
            }
        }
    }

    fn forget(&mut self) {
        *self = Self::default();
    }
}

fn begin(host: &Inner, negotiate: &[u8]) -> Result<Acceptor, ntlm::NtlmError> {
    let computer = host.lock().computer.clone();
    let domain = if host.spec.domain.is_empty() {
        &computer
    } else {
        &host.spec.domain
    };
    let names = Names {
        computer: &computer,
        domain,
        dns: &computer.to_lowercase(),
    };
    Acceptor::begin(negotiate, &names, rand::random(), host.moment().station)
}

/// The schemes on offer, as Windows lists them.
fn refuse(host: &Inner) -> Verdict {
    let policy = host.spec.auth;
    let offers = [
        (policy.negotiate, "Negotiate"),
        (policy.ntlm, "NTLM"),
        (policy.basic, "Basic realm=\"WSMAN\""),
    ];
    Verdict::Challenge(
        offers
            .into_iter()
            .filter(|(on, _)| *on)
            .map(|(_, name)| name.to_owned())
            .collect(),
    )
}
