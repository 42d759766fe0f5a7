//! The students' gateway: it makes reservations, and changes its mind.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lab_model::{LabId, ReservationId};
use rand::RngExt;
use rand::rngs::StdRng;
use reservation_engine::{Reservation, ReservationStatus};

use super::{UNMAPPED_LAB, World};
use crate::faults::FaultKind;
use crate::log::What;

/// What the gateway does to one reservation.
#[derive(Debug, Clone)]
enum Change {
    Book(Reservation),
    Confirm,
    Cancel,
    /// What was cancelled is confirmed again, if its lab is still free and its time not over.
    Restore,
    /// By so many minutes.
    Move(i64),
    /// The end, by so many minutes.
    Resize(i64),
}

#[derive(Debug, Clone)]
struct Planned {
    at: Duration,
    reservation: ReservationId,
    change: Change,
}

/// The gateway's plan for the day.
#[derive(Debug)]
pub(crate) struct Gateway {
    world: World,
    plan: Vec<Planned>,
    /// Every reservation there will be.
    pub(crate) reservations: Vec<ReservationId>,
    /// Those that begin when faults have long ceased: they have to be on time.
    pub(crate) late: Vec<ReservationId>,
}

fn minutes(minutes: i64) -> Duration {
    Duration::from_secs(u64::try_from(minutes * 60).unwrap_or(0))
}

fn id(text: &str) -> ReservationId {
    ReservationId::parse(text).unwrap_or_else(|_| unreachable!("made of letters and digits"))
}

impl Gateway {
    pub(crate) fn draw(world: &World) -> Self {
        let mut gateway = Self {
            world: world.clone(),
            plan: Vec::new(),
            reservations: Vec::new(),
            late: Vec::new(),
        };
        let mut rng = world.rng("gateway");
        for lab in 1..=world.layout().hosts {
            gateway.fill(&lab.to_string(), &mut rng);
        }
        if world.layout().swarm.intensity(FaultKind::Unmapped) > 0 {
            world.fault(FaultKind::Unmapped, UNMAPPED_LAB);
            gateway.fill(UNMAPPED_LAB, &mut rng);
        }
        gateway.plan.sort_by_key(|planned| planned.at);
        gateway
    }

    /// Reserves a lab over the day, and once more when all is quiet.
    fn fill(&mut self, lab: &str, rng: &mut StdRng) {
        let quiet = i64::try_from(self.world.layout().quiet_at.as_secs() / 60).unwrap_or(0);
        let mut free_from = rng.random_range(5..=40);
        let mut last_end = free_from;
        for number in 1.. {
            let length = rng.random_range(15..=80);
            if free_from + length > quiet + 10 {
                break;
            }
            self.book(&format!("{lab}x{number}"), lab, free_from, length, rng);
            // Every third one follows at once.
            let gap = if rng.random_range(0..3) == 0 {
                0
            } else {
                rng.random_range(1..=60)
            };
            last_end = free_from + length;
            free_from = last_end + gap;
        }
        let name = format!("{lab}late");
        let reservation = self.reservation(&name, lab, quiet.max(last_end) + 45, 30);
        self.reservations.push(reservation.id.clone());
        if lab != UNMAPPED_LAB {
            self.late.push(reservation.id.clone());
        }
        self.push(minutes(1), &id(&name), Change::Book(reservation));
    }

    fn reservation(&self, name: &str, lab: &str, from: i64, length: i64) -> Reservation {
        Reservation {
            id: id(name),
            lab: LabId::new(lab),
            status: ReservationStatus::Confirmed,
            starts_at: self.world.wall(minutes(from)),
            ends_at: self.world.wall(minutes(from + length)),
        }
    }

    fn book(&mut self, name: &str, lab: &str, from: i64, length: i64, rng: &mut StdRng) {
        let swarm = self.world.layout().swarm.clone();
        let mut reservation = self.reservation(name, lab, from, length);
        let id = reservation.id.clone();
        self.reservations.push(id.clone());
        let hit = |rng: &mut StdRng, kind| rng.random_bool(swarm.chance(kind, 0.15));
        let late = hit(rng, FaultKind::LateBooking);
        let booked = if late {
            self.world.fault(FaultKind::LateBooking, name);
            rng.random_range((from - 4).max(1)..=from + 4)
        } else {
            1
        };
        if rng.random_range(0..5) == 0 {
            reservation.status = ReservationStatus::Pending;
            let confirmed = rng.random_range(booked..=(from - 3).max(booked));
            self.push(minutes(confirmed) + Duration::from_secs(7), &id, Change::Confirm);
        }
        self.push(minutes(booked), &id, Change::Book(reservation));
        if hit(rng, FaultKind::Cancel) {
            let at = somewhen(rng, from, length);
            self.push(at, &id, Change::Cancel);
            // A stream of its own, so that the rest of the day is the same without it.
            let mut again = self.world.rng(&format!("restore {name}"));
            if again.random_range(0..2) == 0 {
                let after = Duration::from_secs(again.random_range(1..=300));
                self.push(at + after, &id, Change::Restore);
            }
        }
        if hit(rng, FaultKind::Move) {
            let by = rng.random_range(-30..=30);
            let at = somewhen(rng, from, length);
            self.push(at, &id, Change::Move(by));
        }
        if hit(rng, FaultKind::Resize) {
            let by = rng.random_range(-30..=20);
            let at = somewhen(rng, from, length);
            self.push(at, &id, Change::Resize(by));
        }
    }

    fn push(&mut self, at: Duration, id: &ReservationId, change: Change) {
        self.plan.push(Planned {
            at,
            reservation: id.clone(),
            change,
        });
    }

    /// Carries the plan out.
    pub(crate) async fn run(&self) {
        for planned in &self.plan {
            self.world.sleep_until(planned.at).await;
            if let Change::Book(reservation) = &planned.change {
                self.put(reservation.clone());
                continue;
            }
            let Some(mut reservation) = self.world.memory().find_reservation(&planned.reservation) else {
                continue;
            };
            if self.changed(&mut reservation, &planned.change) {
                self.put(reservation);
            }
        }
    }

    fn put(&self, reservation: Reservation) {
        self.world.note(What::Reservation(reservation.clone()));
        self.world.memory().put(reservation);
    }

    /// Changes a reservation as the gateway would allow it; says whether it did.
    fn changed(&self, reservation: &mut Reservation, change: &Change) -> bool {
        use ReservationStatus::{Active, Cancelled, Confirmed, Pending};
        let name = reservation.id.as_str().to_owned();
        let now = self.world.now();
        match (change, reservation.status) {
            (Change::Confirm, Pending) => reservation.status = Confirmed,
            (Change::Cancel, Pending | Confirmed | Active) => {
                self.world.fault(FaultKind::Cancel, name);
                reservation.status = Cancelled;
            }
            (Change::Restore, Cancelled) => {
                let time_left = now + TimeDelta::minutes(5) < reservation.ends_at;
                if !time_left || !self.is_free(reservation, reservation.starts_at, reservation.ends_at) {
                    return false;
                }
                reservation.status = Confirmed;
            }
            (Change::Move(by), Pending | Confirmed) => {
                let by = TimeDelta::minutes(*by);
                let (from, to) = (reservation.starts_at + by, reservation.ends_at + by);
                if from < now || !self.is_free(reservation, from, to) {
                    return false;
                }
                self.world.fault(FaultKind::Move, name);
                (reservation.starts_at, reservation.ends_at) = (from, to);
            }
            (Change::Resize(by), Pending | Confirmed | Active) => {
                let to = reservation.ends_at + TimeDelta::minutes(*by);
                let least = now.max(reservation.starts_at) + TimeDelta::minutes(1);
                if reservation.ends_at <= now || !self.is_free(reservation, reservation.starts_at, to) {
                    return false;
                }
                self.world.fault(FaultKind::Resize, name);
                reservation.ends_at = to.max(least);
            }
            (
                Change::Book(_)
                | Change::Confirm
                | Change::Cancel
                | Change::Restore
                | Change::Move(_)
                | Change::Resize(_),
                _,
            ) => return false,
        }
        true
    }

    /// Whether nobody else has the lab then.
    fn is_free(&self, of: &Reservation, from: DateTime<Utc>, to: DateTime<Utc>) -> bool {
        let booked = self.plan.iter().filter_map(|planned| match &planned.change {
            Change::Book(reservation) => Some(reservation),
            _ => None,
        });
        booked
            .filter(|planned| planned.lab == of.lab && planned.id != of.id)
            .all(|planned| {
                let now = self.world.memory().find_reservation(&planned.id);
                let other = now.as_ref().unwrap_or(planned);
                other.status == ReservationStatus::Cancelled || to <= other.starts_at || other.ends_at <= from
            })
    }
}

/// An instant from shortly before a reservation is woken for until after its end.
fn somewhen(rng: &mut StdRng, from: i64, length: i64) -> Duration {
    let first = (from - 6).max(2) * 60;
    let last = if rng.random_bool(0.5) {
        // Around the start, where most is going on.
        (from + 1) * 60
    } else {
        (from + length + 2) * 60
    };
    Duration::from_secs(u64::try_from(rng.random_range(first..=last.max(first + 1))).unwrap_or(0))
}
