//! Which step in which kind of operation.

use std::fmt;

use reservation_engine::{
    IdlePower, ManualOrder, OperationKind, PowerMode, ReservationStatus, Step, StepAction, WakeOrder,
};

use crate::support::{Lab, host, id};

/// One step where it occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) step: Step,
    pub(super) kind: OperationKind,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.step.as_str(), self.kind.as_str())
    }
}

/// In which kinds of operation a step occurs. A new step has to be added here before anything builds.
fn occurs_in(step: Step) -> &'static [OperationKind] {
    match step {
        Step::Wake | Step::Prepare => &[OperationKind::Start, OperationKind::ManualStart],
        Step::Activate => &[OperationKind::Start],
        Step::Release | Step::Power => &[OperationKind::End, OperationKind::ManualEnd],
        Step::Complete => &[OperationKind::End],
    }
}

impl Case {
    /// Every step in every kind of operation in which it occurs.
    pub(super) fn all() -> Vec<Self> {
        let steps = Step::ALL.into_iter();
        steps
            .flat_map(|step| occurs_in(step).iter().map(move |kind| Self { step, kind: *kind }))
            .collect()
    }

    pub(super) fn is_manual(&self) -> bool {
        match self.kind {
            OperationKind::ManualStart | OperationKind::ManualEnd => true,
            OperationKind::Start | OperationKind::End => false,
        }
    }

    /// The status to which a step on the store alone moves its reservation; `None` for steps on a host.
    pub(super) fn moves_to(&self) -> Option<ReservationStatus> {
        match self.step {
            Step::Activate => Some(ReservationStatus::Active),
            Step::Complete => Some(ReservationStatus::Completed),
            Step::Wake | Step::Prepare | Step::Release | Step::Power => None,
        }
    }

    /// A lab in which the step will be due. A start lasts long enough to be finished an hour later.
    pub(super) fn lab(&self) -> Lab {
        let mut lab = Lab::new();
        if !self.is_manual() {
            let minutes = if self.kind == OperationKind::Start {
                180
            } else {
                60
            };
            lab.reserve("a", 1, 0, minutes);
        }
        if self.step == Step::Power {
            lab.settings.idle_power = Some(IdlePower::new(PowerMode::Shutdown));
        }
        lab
    }

    /// The order of a caller that has the step in it, alone.
    pub(super) fn order(&self) -> Option<ManualOrder> {
        let args = Vec::new();
        let action = match self.step {
            Step::Wake => StepAction::Wake(WakeOrder::default()),
            Step::Prepare => StepAction::Prepare { args },
            Step::Release => StepAction::Release { args },
            Step::Power => StepAction::Power {
                mode: "shutdown".to_owned(),
                args,
            },
            Step::Activate | Step::Complete => return None,
        };
        self.is_manual().then(|| ManualOrder {
            reservation: id("a"),
            lab: None,
            host: host(1),
            kind: self.kind,
            steps: vec![action],
            wait_for_host: std::time::Duration::from_secs(2),
            key: None,
        })
    }
}
