//! Output so far, within the limit.

use std::time::Duration;

use crate::output::Output;
use crate::soap::ReceiveAnswer;

/// What a command wrote so far.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) limit: usize,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    exit_code: Option<i32>,
    /// Something was dropped, or lost.
    pub(crate) incomplete: bool,
}

impl Collected {
    /// Adds one answer. Beyond the limit the output is still drained, but no longer kept.
    pub(crate) fn add(&mut self, answer: ReceiveAnswer) {
        for (kept, new) in [
            (&mut self.stdout, &answer.stdout),
            (&mut self.stderr, &answer.stderr),
        ] {
            let room = self.limit.saturating_sub(kept.len());
            kept.extend_from_slice(&new[..new.len().min(room)]);
            self.incomplete |= new.len() > room;
        }
        self.exit_code = answer.exit_code.or(self.exit_code);
    }

    /// The bytes so far; leaves the rest.
    pub(crate) fn take_bytes(&mut self) -> (Vec<u8>, Vec<u8>) {
        (std::mem::take(&mut self.stdout), std::mem::take(&mut self.stderr))
    }

    /// Everything so far; leaves nothing behind.
    pub(crate) fn take(&mut self, duration: Duration) -> Output {
        Output {
            exit_code: self.exit_code.take(),
            stdout: std::mem::take(&mut self.stdout),
            stderr: std::mem::take(&mut self.stderr),
            truncated: self.incomplete,
            duration,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_beyond_the_limit_is_dropped_and_says_so() {
        let mut collected = Collected {
            limit: 4,
            ..Collected::default()
        };
        collected.add(ReceiveAnswer {
            stdout: b"abc".into(),
            ..ReceiveAnswer::default()
        });
        assert!(!collected.incomplete);
        collected.add(ReceiveAnswer {
            stdout: b"def".into(),
            exit_code: Some(3),
            ..ReceiveAnswer::default()
        });
        let output = collected.take(Duration::ZERO);
        assert_eq!((output.stdout.as_slice(), output.truncated), (&b"abcd"[..], true));
        assert_eq!(output.exit_code, Some(3));
    }
}
