//! One viewer: what still has to be sent to it, bounded, so that one who does not read costs next to nothing and holds
//! up nobody.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::event::{DroppedEvent, passing};

/// Bytes that may wait for one viewer.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Something is sent this often, so that proxies and people see that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// Why nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It read too slowly.
    Dropped,
    /// The service stops.
    Stopping,
}

/// The sending end, shared with the hub.
#[derive(Debug)]
pub(super) struct Viewer {
    pub(super) with_events: bool,
    most: usize,
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    bytes: usize,
    end: Option<End>,
}

impl Viewer {
    /// At most `most` events wait for it.
    pub(super) fn new(with_events: bool, most: usize) -> Self {
        Self {
            with_events,
            most,
            queue: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a frame in line, never waiting. One too many gives the viewer up, and frees what waited.
    pub(super) fn push(&self, frame: Bytes) {
        let mut queue = self.queue();
        if queue.end.is_some() {
            return;
        }
        if queue.frames.len() >= self.most || queue.bytes + frame.len() > MAX_BYTES {
            *queue = Queue {
                end: Some(End::Dropped),
                ..Queue::default()
            };
        } else {
            queue.bytes += frame.len();
            queue.frames.push_back(frame);
        }
        drop(queue);
        self.changed.notify_one();
    }

    /// Ends the stream at once.
    pub(super) fn end(&self, why: End) {
        let mut queue = self.queue();
        if queue.end.is_none() {
            *queue = Queue {
                end: Some(why),
                ..Queue::default()
            };
        }
        drop(queue);
        self.changed.notify_one();
    }

    /// Whether nothing will be sent to it any more.
    pub(super) fn is_over(&self) -> bool {
        self.queue().end.is_some()
    }

    /// How much waits for it: frames and bytes.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> (usize, usize) {
        let queue = self.queue();
        (queue.frames.len(), queue.bytes)
    }

    /// What it is sent next.
    #[cfg(test)]
    pub(super) fn peek(&self) -> Option<Bytes> {
        self.queue().frames.front().cloned()
    }

    /// The next frame, a comment when there is none for a while; the reason when there will be none.
    async fn next(&self) -> Result<Bytes, End> {
        let next = async {
            loop {
                {
                    let mut queue = self.queue();
                    if let Some(frame) = queue.frames.pop_front() {
                        queue.bytes -= frame.len();
                        return Ok(frame);
                    }
                    if let Some(end) = queue.end {
                        return Err(end);
                    }
                }
                self.changed.notified().await;
            }
        };
        timeout(KEEP_ALIVE, next).await.unwrap_or(Ok(COMMENT))
    }

    /// The next frame of the stream; `None` after its last.
    pub(super) async fn frame(&self, said_goodbye: &mut bool) -> Option<Bytes> {
        if *said_goodbye {
            return None;
        }
        match self.next().await {
            Ok(frame) => Some(frame),
            Err(End::Stopping) => None,
            Err(End::Dropped) => {
                *said_goodbye = true;
                let reason = "read too slowly; connect again with Last-Event-ID";
                Some(passing("dropped", &DroppedEvent { reason }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize) -> Bytes {
        Bytes::from(vec![b'x'; length])
    }

    async fn read(viewer: &Viewer) -> Vec<Bytes> {
        let (mut read, mut bye) = (Vec::new(), false);
        while let Some(frame) = viewer.frame(&mut bye).await {
            read.push(frame);
        }
        read
    }

    #[tokio::test]
    async fn a_viewer_that_does_not_read_is_given_up_and_keeps_nothing() {
        let viewer = Viewer::new(true, 3);
        (0..3).for_each(|_| viewer.push(frame(10)));
        assert_eq!((viewer.waiting(), viewer.is_over()), ((3, 30), false));
        viewer.push(frame(10));
        assert_eq!((viewer.waiting(), viewer.is_over()), ((0, 0), true));
        viewer.push(frame(10));
        let said = read(&viewer).await;
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with(b"event: dropped\n"), "{said:?}");
    }

    #[tokio::test]
    async fn bytes_are_bounded_as_well_as_events() {
        let viewer = Viewer::new(true, 1000);
        for _ in 0..5 {
            viewer.push(frame(MAX_BYTES / 4));
        }
        assert!(viewer.is_over());
        assert_eq!(viewer.waiting(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_filled_with_comments_and_a_stop_ends_at_once() {
        let viewer = Viewer::new(true, 3);
        assert_eq!(viewer.frame(&mut false).await, Some(COMMENT));
        viewer.push(frame(1));
        viewer.end(End::Stopping);
        assert_eq!(viewer.frame(&mut false).await, None);
    }
}
