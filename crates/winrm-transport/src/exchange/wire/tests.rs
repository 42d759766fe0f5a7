use std::sync::atomic::AtomicUsize;

use tokio::sync::{mpsc, oneshot};

use super::*;

/// How often nobody else is to run before something is given up.
const PATIENCE: usize = 1_000;

/// Work that answers each number with the next one, and counts how often it is polled and whether it was dropped.
struct Echo {
    numbers: mpsc::UnboundedSender<(u32, oneshot::Sender<u32>)>,
    polls: Arc<AtomicUsize>,
    dropped: Arc<AtomicBool>,
}

type BoxedWork = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Work for BoxedWork {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.as_mut().poll(cx)
    }
}

struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Echo {
    fn start() -> (Self, Wire<BoxedWork>) {
        let (numbers, mut asked) = mpsc::unbounded_channel::<(u32, oneshot::Sender<u32>)>();
        let (polls, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let guard = OnDrop(dropped.clone());
        let count = polls.clone();
        let work = async move {
            let _guard = guard;
            let next = poll_fn(move |cx| {
                count.fetch_add(1, Ordering::SeqCst);
                while let Poll::Ready(asked) = asked.poll_recv(cx) {
                    let Some((number, answer)) = asked else {
                        return Poll::Ready(());
                    };
                    let _ = answer.send(number + 1);
                }
                Poll::Pending
            });
            next.await;
        };
        let wire = Wire::start(Box::pin(work) as BoxedWork);
        (
            Self {
                numbers,
                polls,
                dropped,
            },
            wire,
        )
    }

    async fn ask(&self, number: u32) -> Option<u32> {
        let (answer, answered) = oneshot::channel();
        self.numbers.send((number, answer)).ok()?;
        answered.await.ok()
    }
}

async fn eventually(condition: impl Fn() -> bool) -> bool {
    for _ in 0..PATIENCE {
        if condition() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    condition()
}

#[tokio::test]
async fn the_call_does_the_work_that_it_waits_for() {
    let (echo, wire) = Echo::start();
    for number in 0..100 {
        assert_eq!(wire.until(echo.ask(number)).await, Some(number + 1));
    }
}

#[tokio::test]
async fn while_no_call_waits_the_work_goes_on_by_itself() {
    let (echo, wire) = Echo::start();
    assert_eq!(wire.until(echo.ask(1)).await, Some(2));
    assert_eq!(echo.ask(5).await, Some(6));
    // Also after a call that was dropped in the middle.
    let never = wire.until(std::future::pending::<()>());
    assert!(
        tokio::time::timeout(std::time::Duration::ZERO, never)
            .await
            .is_err()
    );
    assert_eq!(echo.ask(7).await, Some(8));
    assert_eq!(wire.until(echo.ask(8)).await, Some(9));
}

#[tokio::test]
async fn the_end_of_the_work_is_noticed_while_idle_and_by_a_call() {
    let (echo, wire) = Echo::start();
    let Echo { numbers, dropped, .. } = echo;
    drop(numbers);
    assert!(eventually(|| dropped.load(Ordering::SeqCst)).await);
    let (answer, answered) = oneshot::channel::<()>();
    drop(answer);
    assert!(wire.until(answered).await.is_err());
}

#[tokio::test]
async fn dropping_it_ends_the_work_at_once() {
    let (echo, wire) = Echo::start();
    drop(wire);
    assert!(echo.dropped.load(Ordering::SeqCst));
    assert_eq!(echo.ask(1).await, None);
}

#[tokio::test]
async fn work_that_was_changed_between_calls_goes_on_by_itself() {
    let (echo, wire) = Echo::start();
    assert_eq!(wire.until(echo.ask(1)).await, Some(2));
    let (ends, ended) = oneshot::channel::<()>();
    let other = Box::pin(async move { drop(ended.await) });
    wire.change(|_| Some(other));
    wire.advance();
    assert!(echo.dropped.load(Ordering::SeqCst) && !wire.has_ended());
    drop(ends);
    assert!(eventually(|| wire.has_ended()).await);
    // What has ended stays so.
    wire.change(|_| unreachable!("there is none"));
    wire.advance();
    assert!(wire.has_ended());
}

#[tokio::test]
async fn a_call_that_waits_costs_no_polls() {
    let (echo, wire) = Echo::start();
    let (answer, answered) = oneshot::channel();
    let waits = tokio::spawn(async move { wire.until(answered).await });
    assert!(eventually(|| echo.polls.load(Ordering::SeqCst) > 0).await);
    let polled = echo.polls.load(Ordering::SeqCst);
    assert!(!eventually(|| echo.polls.load(Ordering::SeqCst) > polled + 1).await);
    answer.send(3).unwrap();
    assert_eq!(waits.await.unwrap(), Ok(3));
}

/// A wake-up in any moment, from another thread, reaches whoever is in charge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_up_is_lost_between_threads() {
    let (echo, wire) = Echo::start();
    for number in 0..20_000 {
        let (answer, answered) = oneshot::channel();
        let sender = echo.numbers.clone();
        tokio::spawn(async move { sender.send((number, answer)).is_ok() });
        let got = if number % 3 == 0 {
            answered.await
        } else {
            wire.until(answered).await
        };
        assert_eq!(got, Ok(number + 1));
    }
}
