//! The work of a connection, done by whoever waits for it.
//!
//! hyper leaves reading and writing to a future of its own. In a task of its own it would cost two changes of task for
//! each request. Here the call that waits for an answer does that work itself, and a small task only while the
//! connection is idle: it notices at once when the host closes it.
//!
//! Both poll with the same waker, a [`Relay`] to whoever is in charge, so that neither can take a wake-up that the
//! other one needs.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use tokio_util::task::AbortOnDropHandle;

/// How often work that goes on at once goes on before others get their turn.
const ROUNDS: usize = 8;

/// What there is to do for a connection.
pub(super) trait Work: Send + 'static {
    /// Does it, as far as it goes now. Ready when the connection has come to its end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// One connection's work, and who does it.
pub(super) struct Wire<W> {
    work: Arc<Mutex<Option<W>>>,
    relay: Arc<Relay>,
    waker: Waker,
    _watch: AbortOnDropHandle<()>,
}

impl<W: Work> Wire<W> {
    /// Takes over the work; it is done from now on, by a task as long as nobody else does it.
    pub(super) fn start(work: W) -> Self {
        let work = Arc::new(Mutex::new(Some(work)));
        let relay = Arc::new(Relay::default());
        let waker = Waker::from(relay.clone());
        let watch = tokio::spawn(watch(work.clone(), relay.clone(), waker.clone()));
        Self {
            work,
            relay,
            waker,
            _watch: AbortOnDropHandle::new(watch),
        }
    }

    /// Waits for `wanted`, which goes on only by the work of this connection, and does that work meanwhile.
    pub(super) async fn until<F: Future>(&self, wanted: F) -> F::Output {
        let mut wanted = pin!(wanted);
        let _charge = Charge(&self.relay);
        poll_fn(|cx| self.poll(cx, wanted.as_mut())).await
    }

    /// Puts other work in its place, or none. Nothing happens when it has come to its end.
    pub(super) fn change(&self, change: impl FnOnce(W) -> Option<W>) {
        let mut work = lock(&self.work);
        *work = work.take().and_then(change);
    }

    /// Does what there is to do, and has whoever is in charge woken when there is more.
    pub(super) fn advance(&self) {
        advance(&self.work, &self.waker);
    }

    /// Whether the work has come to its end.
    pub(super) fn has_ended(&self) -> bool {
        lock(&self.work).is_none()
    }

    fn poll<F: Future>(&self, cx: &Context<'_>, mut wanted: Pin<&mut F>) -> Poll<F::Output> {
        self.relay.take_charge(cx.waker());
        let mut found = None;
        for _ in 0..ROUNDS {
            self.relay.enter();
            advance(&self.work, &self.waker);
            if found.is_none()
                && let Poll::Ready(value) = wanted.as_mut().poll(&mut Context::from_waker(&self.waker))
            {
                // Once more: the connection now waits for the next request, and for its end.
                found = Some(value);
                continue;
            }
            if !self.relay.leave() {
                return found.map_or(Poll::Pending, Poll::Ready);
            }
        }
        self.relay.leave();
        match found {
            Some(value) => Poll::Ready(value),
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl<W> Drop for Wire<W> {
    fn drop(&mut self) {
        // Now, and not when the task comes to it: the connection ends with this.
        drop(lock(&self.work).take());
    }
}

/// Does what there is to do. Gives whether the work has come to its end.
fn advance<W: Work>(work: &Mutex<Option<W>>, waker: &Waker) -> bool {
    let mut work = lock(work);
    let Some(under_way) = work.as_mut() else {
        return true;
    };
    let ended = under_way.poll(&mut Context::from_waker(waker)).is_ready();
    if ended {
        *work = None;
    }
    ended
}

/// Does the work of a connection while nobody else does.
async fn watch<W: Work>(work: Arc<Mutex<Option<W>>>, relay: Arc<Relay>, waker: Waker) {
    poll_fn(|cx| {
        if relay.rest_with(cx.waker()) && advance(&work, &waker) {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes wake-ups on to whoever does the work.
#[derive(Default)]
struct Relay {
    wakers: Mutex<Wakers>,
    /// Somebody is doing the work at this moment, and looks at `woken` before going to sleep.
    inside: AtomicBool,
    woken: AtomicBool,
}

#[derive(Default)]
struct Wakers {
    /// Of the call in charge.
    call: Option<Waker>,
    /// Of the task for idle times.
    watch: Option<Waker>,
}

impl Relay {
    fn take_charge(&self, waker: &Waker) {
        let mut wakers = lock(&self.wakers);
        match &mut wakers.call {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Notes the waker for idle times. Gives whether this is one.
    fn rest_with(&self, waker: &Waker) -> bool {
        let mut wakers = lock(&self.wakers);
        match &mut wakers.watch {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        wakers.call.is_none()
    }

    /// What happens from now on needs no wake-up until [`Relay::leave`].
    fn enter(&self) {
        self.inside.store(true, Ordering::SeqCst);
        self.woken.store(false, Ordering::SeqCst);
    }

    /// Gives whether something happened since [`Relay::enter`].
    fn leave(&self) -> bool {
        self.inside.store(false, Ordering::SeqCst);
        self.woken.load(Ordering::SeqCst)
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if self.inside.load(Ordering::SeqCst) {
            return;
        }
        let waker = {
            let wakers = lock(&self.wakers);
            wakers.call.as_ref().or(wakers.watch.as_ref()).cloned()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A call does the work; when this is dropped the task for idle times does it again.
struct Charge<'a>(&'a Relay);

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        let watch = {
            let mut wakers = lock(&self.0.wakers);
            wakers.call = None;
            wakers.watch.clone()
        };
        // What the call was told and did not look at any more.
        self.0.inside.store(false, Ordering::SeqCst);
        if self.0.woken.load(Ordering::SeqCst)
            && let Some(watch) = watch
        {
            watch.wake();
        }
    }
}

#[cfg(test)]
mod tests;
