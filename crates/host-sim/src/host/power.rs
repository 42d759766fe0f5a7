//! The power of one machine: a task that boots it, takes it down, and opens and closes its ports.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Inner, PowerState, another_name, packet};
use crate::effects::{Cause, EffectKind, count};
use crate::faults::Fault;
use crate::http::Listeners;

/// What may be asked of the power task.
#[derive(Debug)]
pub(crate) enum Order {
    /// A datagram that came in by the farm's broadcast listener.
    Packet { valid: bool, from: SocketAddr },
    /// Switch on, if off.
    PowerOn { cause: Cause },
    /// Off at once.
    PowerCut { cause: Cause },
    /// Go down in order after this time.
    GoDown {
        after: Duration,
        then: Then,
        cause: Cause,
    },
}

/// What follows when a machine has gone down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Off,
    Hibernate,
    Boot,
}

#[derive(Debug)]
enum Phase {
    Off,
    /// Ports closed until the instant; for ever if there is none.
    Booting {
        open_at: Option<Instant>,
    },
    Opening {
        ready_at: Instant,
    },
    Ready,
    GoingDown {
        at: Instant,
        then: Then,
        cause: Cause,
    },
}

pub(super) struct Machine {
    inner: Arc<Inner>,
    /// The card's own socket for magic packets, if it has one.
    udp: Option<UdpSocket>,
    /// None while the machine is parked.
    orders: Option<mpsc::Receiver<Order>>,
    rng: StdRng,
    stop: CancellationToken,
    phase: Phase,
    /// An ordered power change whose delay is still running.
    pending: Option<(Instant, Then, Cause)>,
    /// Whether the running boot is followed by another of its own accord.
    boots_again: bool,
    listeners: Option<Listeners>,
}

impl Machine {
    pub(super) fn new(
        inner: Arc<Inner>,
        udp: Option<UdpSocket>,
        orders: Option<mpsc::Receiver<Order>>,
        rng: StdRng,
        stop: CancellationToken,
    ) -> Self {
        Self {
            inner,
            udp,
            orders,
            rng,
            stop,
            phase: Phase::Off,
            pending: None,
            boots_again: false,
            listeners: None,
        }
    }

    pub(super) async fn run(mut self) {
        self.start().await;
        self.go_on().await;
    }

    /// Brings a machine up that is up from the start.
    async fn start(&mut self) {
        if self.inner.spec.awake_at_start {
            self.begin_boot();
            self.open_ports().await;
            self.become_ready();
        }
    }

    async fn go_on(mut self) {
        loop {
            let deadline = self.next_deadline();
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(order) = next(self.orders.as_mut()) => self.obey(order).await,
                () = readable(self.udp.as_ref()) => self.read_packet(),
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.deadline_passed().await;
                }
            }
        }
        self.close_ports().await;
        // Their programs must not outlive the machine.
        self.inner.lock().shells.clear();
    }

    fn next_deadline(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Off | Phase::Ready => None,
            Phase::Booting { open_at } => open_at,
            Phase::Opening { ready_at } => Some(ready_at),
            Phase::GoingDown { at, .. } => Some(at),
        };
        let pending = self.pending.map(|(at, ..)| at);
        [phase, pending].into_iter().flatten().min()
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Packet { valid, from } => self.packet(valid, from),
            Order::PowerOn { cause } => self.power_on(cause),
            Order::PowerCut { cause } => {
                if !matches!(self.phase, Phase::Off) {
                    self.went_down(Then::Off, cause).await;
                }
            }
            Order::GoDown { after, then, cause } => {
                self.pending = Some((Instant::now() + after, then, cause))
            }
        }
    }

    fn read_packet(&mut self) {
        // The buffer lives only here, so that a sleeping host costs no memory for it.
        let mut buffer = [0_u8; 1500];
        let received = self
            .udp
            .as_ref()
            .and_then(|udp| udp.try_recv_from(&mut buffer).ok());
        if let Some((length, from)) = received {
            let valid = packet::wakes(&buffer[..length], self.inner.spec.mac, self.inner.spec.secure_on);
            self.packet(valid, from);
        }
    }

    fn packet(&mut self, valid: bool, from: SocketAddr) {
        self.inner.log(EffectKind::MagicPacket { valid, from });
        if valid {
            count(&self.inner.counts.packets_valid);
            self.power_on(Cause::MagicPacket);
        } else {
            count(&self.inner.counts.packets_invalid);
        }
    }

    fn power_on(&mut self, cause: Cause) {
        if matches!(self.phase, Phase::Off) {
            self.inner.log(EffectKind::PoweredOn { cause });
            self.begin_boot();
        }
    }

    /// Starts a boot, or a resume when the machine hibernates.
    fn begin_boot(&mut self) {
        let takes = draw(&mut self.rng, &self.inner.spec.boot.port_open);
        let never = self
            .inner
            .faults
            .take(|f| (*f == Fault::NeverBoots).then_some(()))
            .is_some();
        self.boots_again = self.inner.faults.consume(&Fault::BootsTwice);
        let another = self.inner.faults.has(&Fault::WakesAsAnotherMachine);
        let now = self.inner.clock.now();
        {
            let mut state = self.inner.lock();
            let resumes = std::mem::take(&mut state.hibernated);
            if !never && !resumes {
                state.boots += 1;
                state.booted_at = Some(now);
                state.computer = if another {
                    another_name(&self.inner.spec.name)
                } else {
                    self.inner.spec.name.to_uppercase()
                };
                state.another_machine = another;
                state.shells.clear();
                let computer = state.computer.clone();
                let first = state.boots == 1;
                state.station.booted(&computer, first);
            }
        }
        self.phase = Phase::Booting {
            open_at: (!never).then(|| Instant::now() + takes),
        };
        self.show(PowerState::Booting);
    }

    async fn deadline_passed(&mut self) {
        let now = Instant::now();
        if let Some((at, then, cause)) = self.pending
            && at <= now
        {
            self.pending = None;
            self.begin_going_down(then, cause);
            return;
        }
        match self.phase {
            Phase::Booting { .. } => self.open_ports().await,
            Phase::Opening { .. } if self.boots_again => self.went_down(Then::Boot, Cause::Fault).await,
            Phase::Opening { .. } => self.become_ready(),
            Phase::GoingDown { then, cause, .. } => self.went_down(then, cause).await,
            Phase::Off | Phase::Ready => {}
        }
    }

    async fn open_ports(&mut self) {
        match Listeners::open(Arc::clone(&self.inner)).await {
            Ok(listeners) => self.listeners = Some(listeners),
            Err(error) => {
                // Somebody took the port while the machine was off. It boots, but nobody can reach it.
                tracing::error!(host.name = %self.inner.spec.name, %error, "cannot open the WinRM ports");
            }
        }
        let now = Instant::now();
        let ready_at = now + draw(&mut self.rng, &self.inner.spec.boot.ready_after_port);
        self.inner.lock().opening = Some((now, ready_at));
        self.inner.log(EffectKind::PortOpened);
        self.phase = Phase::Opening { ready_at };
        self.show(PowerState::Opening);
    }

    fn become_ready(&mut self) {
        let moment = self.inner.moment();
        self.inner.lock().station.start_service(moment);
        self.inner.log(EffectKind::Ready);
        self.phase = Phase::Ready;
        self.show(PowerState::Ready);
    }

    fn begin_going_down(&mut self, then: Then, cause: Cause) {
        if matches!(self.phase, Phase::Off) || self.inner.faults.has(&Fault::IgnoresPowerOrders) {
            return;
        }
        let takes = draw(&mut self.rng, &self.inner.spec.shutdown);
        self.phase = Phase::GoingDown {
            at: Instant::now() + takes,
            then,
            cause,
        };
        self.show(PowerState::ShuttingDown);
    }

    async fn went_down(&mut self, then: Then, cause: Cause) {
        self.pending = None;
        let moment = self.inner.moment();
        self.close_ports().await;
        {
            let mut state = self.inner.lock();
            state.station.stop_service(moment);
            state.opening = None;
            state.hibernated = then == Then::Hibernate;
            if then != Then::Hibernate {
                state.shells.clear();
            }
        }
        if then == Then::Boot {
            self.inner.log(EffectKind::Rebooted { cause });
            self.begin_boot();
        } else {
            self.inner.log(EffectKind::PoweredOff {
                cause,
                hibernated: then == Then::Hibernate,
            });
            self.phase = Phase::Off;
            self.show(PowerState::Off);
        }
    }

    async fn close_ports(&mut self) {
        if let Some(listeners) = self.listeners.take() {
            listeners.close().await;
        }
    }

    fn show(&self, state: PowerState) {
        self.inner.power.send_replace(state);
    }
}

/// A machine that stands still: no task, until somebody wants something of it.
pub(crate) struct Parked {
    machine: Box<Machine>,
    tasks: TaskTracker,
    runtime: tokio::runtime::Handle,
}

impl Parked {
    /// Brings the machine up if it is to be, and leaves it with its host.
    pub(super) async fn park(mut machine: Machine, tasks: TaskTracker) {
        machine.start().await;
        let inner = Arc::clone(&machine.inner);
        let parked = Self {
            machine: Box::new(machine),
            tasks,
            runtime: tokio::runtime::Handle::current(),
        };
        *inner.parked.lock().unwrap_or_else(PoisonError::into_inner) = Some(parked);
    }

    /// From now on a task of its own sees to it.
    pub(super) fn run(self, orders: mpsc::Receiver<Order>) {
        let mut machine = *self.machine;
        machine.orders = Some(orders);
        self.tasks.spawn_on(machine.go_on(), &self.runtime);
    }

    /// Takes the machine down with its farm.
    pub(crate) async fn end(self) {
        let mut machine = *self.machine;
        machine.close_ports().await;
        machine.inner.lock().shells.clear();
    }
}

/// The next order; never without a channel.
async fn next(orders: Option<&mut mpsc::Receiver<Order>>) -> Option<Order> {
    match orders {
        Some(orders) => orders.recv().await,
        None => std::future::pending().await,
    }
}

/// Ends when a datagram may be there; never without a socket.
async fn readable(udp: Option<&UdpSocket>) {
    match udp {
        // An error shows again when the datagram is taken.
        Some(udp) => udp.readable().await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}

fn draw(rng: &mut StdRng, range: &Range<Duration>) -> Duration {
    if range.is_empty() {
        range.start
    } else {
        rng.random_range(range.clone())
    }
}
