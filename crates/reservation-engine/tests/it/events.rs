//! What listeners hear, and what spans there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use reservation_engine::{
    AttemptOutcome, EngineEvent, Listener, ManualOrder, OperationKind, Step, StepAction, WakeOrder,
};
use tracing::field::{Field, Visit};
use tracing::{Id, Subscriber, span};

use crate::support::{Lab, Moment, Script, ShakyStore, TestEngine, at, host, id};

/// Writes everything down.
#[derive(Debug, Default)]
struct Ears(Mutex<Vec<EngineEvent>>);

impl Listener for Ears {
    fn heard(&self, event: &EngineEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Ears {
    fn on(engine: &TestEngine) -> Arc<Self> {
        let ears = Arc::new(Self::default());
        engine.listen(ears.clone());
        ears
    }

    /// In few words, in order.
    fn heard(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        events.iter().map(shown).collect()
    }

    fn find<T>(&self, pick: impl FnMut(&EngineEvent) -> Option<T>) -> Option<T> {
        self.0.lock().unwrap().iter().find_map(pick)
    }
}

fn shown(event: &EngineEvent) -> String {
    let name = event.name();
    match event {
        EngineEvent::Dispatched { kind, .. } => format!("{name} {}", kind.as_str()),
        EngineEvent::ClaimTaken { takeover, .. } => format!("{name} takeover={takeover}"),
        EngineEvent::ClaimLost { .. } | EngineEvent::Ready { .. } => name.to_owned(),
        EngineEvent::StepBegan { step, attempt, .. } => format!("{name} {} {attempt}", step.as_str()),
        EngineEvent::StepEnded { step, outcome, .. } => {
            format!("{name} {} {}", step.as_str(), outcome.as_str())
        }
        EngineEvent::OperationEnded { kind, state, .. } => format!("{name} {} {state}", kind.as_str()),
        EngineEvent::Missed { reason, .. } => format!("{name} {}", reason.code),
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_hears_a_reservation_from_its_dispatch_to_its_end() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    let ears = Ears::on(&engine);
    lab.run(&engine, at(70)).await;
    assert_eq!(
        ears.heard(),
        [
            "claim_taken takeover=false",
            "dispatched start",
            "step_began wake 1",
            "step_ended wake done",
            "step_began prepare 1",
            "step_ended prepare done",
            "step_began activate 1",
            "step_ended activate done",
            "ready",
            "operation_ended start done",
            "claim_taken takeover=false",
            "dispatched end",
            "step_began release 1",
            "step_ended release done",
            "step_began complete 1",
            "step_ended complete done",
            "operation_ended end done",
        ]
    );
    let ready = ears.find(|event| match event {
        EngineEvent::Ready { starts_at, at, .. } => Some((*starts_at, *at)),
        _ => None,
    });
    let (starts_at, ready_at) = ready.unwrap();
    assert_eq!(starts_at, at(0));
    assert!(ready_at < starts_at && ready_at > at(-2));
    let late = ears.find(|event| match event {
        EngineEvent::Dispatched { due_at, late, .. } => Some((*due_at, *late)),
        _ => None,
    });
    let (due_at, late) = late.unwrap();
    assert_eq!(due_at, at(-2));
    assert!(late < Duration::from_secs(1), "{late:?}");
    let woken = ears.find(|event| match event {
        EngineEvent::StepEnded { duration, .. } => Some(*duration),
        _ => None,
    });
    assert_eq!(woken, Some(Duration::from_secs(20)));
}

#[tokio::test(start_paused = true)]
async fn a_failure_carries_its_reason_and_a_reservation_that_never_was_is_missed() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 10);
    lab.reserve("late", 2, -9, -5);
    lab.sleep_until(at(-4)).await;
    lab.hosts
        .script(&host(1), Step::Wake, &[Script::Fail("wake_no_answer"); 20]);
    let engine = lab.engine("only");
    let ears = Ears::on(&engine);
    lab.run(&engine, at(20)).await;
    let heard = ears.heard();
    assert_eq!(
        heard.iter().filter(|what| *what == "missed missed").count(),
        1,
        "{heard:?}"
    );
    let given_up = heard.iter().filter(|what| what.starts_with("missed ")).count();
    assert_eq!(given_up, 2, "{heard:?}");
    assert_eq!(
        heard.iter().filter(|what| *what == "dispatched start").count(),
        1,
        "{heard:?}"
    );
    let failed = ears.find(|event| match event {
        EngineEvent::StepEnded { reason, outcome, .. } => Some((reason.clone(), *outcome)),
        _ => None,
    });
    let (reason, outcome) = failed.unwrap();
    assert_eq!(
        (reason.unwrap().code.as_str(), outcome),
        ("wake_no_answer", AttemptOutcome::Failed)
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_resumes_what_another_one_left_is_heard_to_take_over() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let store = ShakyStore::dying_at(lab.store.clone(), Step::Prepare, Moment::AfterIntent);
    let died = store.died.clone();
    let first = lab.engine_on(store, "first");
    let heard_first = Ears::on(&first);
    tokio::select! {
        _ = lab.run(&first, at(5)) => panic!("never reached"),
        () = died.cancelled() => {}
    }
    first.stop(Duration::ZERO).await;
    assert_eq!(
        heard_first.heard().last().map(String::as_str),
        Some("step_ended wake done"),
        "what the store did not say it took is not told"
    );
    let second = lab.engine("second");
    let ears = Ears::on(&second);
    lab.run(&second, at(5)).await;
    assert_eq!(ears.heard()[0], "claim_taken takeover=true");
    assert!(ears.heard().contains(&"ready".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_lost_is_told() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.hosts.script(&host(1), Step::Wake, &[Script::Hang]);
    let store = ShakyStore::new(lab.store.clone());
    let engine = lab.engine_on(store.clone(), "only");
    let ears = Ears::on(&engine);
    lab.run(&engine, at(-2) + TimeDelta::seconds(1)).await;
    store.lose_claims();
    lab.run(&engine, at(-2) + TimeDelta::seconds(10)).await;
    assert_eq!(
        ears.heard().last().map(String::as_str),
        Some("claim_lost"),
        "{:?}",
        ears.heard()
    );
}

/// Panics each time.
struct Broken;

impl Listener for Broken {
    fn heard(&self, _: &EngineEvent) {
        panic!("a listener that is broken");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_breaks_nothing() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    engine.listen(Arc::new(Broken));
    let ears = Ears::on(&engine);
    lab.run(&engine, at(70)).await;
    assert_eq!(
        lab.hosts.done_to(&host(1)),
        ["wake", "prepare", "release --reboot"]
    );
    assert_eq!(ears.heard().len(), 17);
}

/// Keeps each span with its parent and its fields.
#[derive(Debug, Default, Clone)]
struct Spans(Arc<Mutex<Vec<Spanned>>>);

#[derive(Debug, Clone)]
struct Spanned {
    name: &'static str,
    parent: Option<u64>,
    fields: BTreeMap<&'static str, String>,
}

impl Visit for Spanned {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.fields
            .insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

std::thread_local! {
    static ENTERED: std::cell::RefCell<Vec<u64>> = const { std::cell::RefCell::new(Vec::new()) };
}

impl Subscriber for Spans {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, attributes: &span::Attributes<'_>) -> Id {
        let current = ENTERED.with_borrow(|entered| entered.last().copied());
        let parent = match attributes.parent() {
            Some(parent) => Some(parent.into_u64()),
            None => current.filter(|_| attributes.is_contextual()),
        };
        let mut spanned = Spanned {
            name: attributes.metadata().name(),
            parent,
            fields: BTreeMap::new(),
        };
        attributes.record(&mut spanned);
        let mut spans = self.0.lock().unwrap();
        spans.push(spanned);
        Id::from_u64(spans.len() as u64)
    }
    fn record(&self, id: &Id, values: &span::Record<'_>) {
        let mut spans = self.0.lock().unwrap();
        values.record(&mut spans[id.into_u64() as usize - 1]);
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.into_u64()));
    }
    fn exit(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| {
            let index = entered.iter().rposition(|one| *one == id.into_u64()).unwrap();
            entered.remove(index);
        });
    }
}

impl Spans {
    /// Each operation's span with the steps below it.
    fn operations(&self) -> Vec<(Spanned, Vec<String>)> {
        let spans = self.0.lock().unwrap().clone();
        let numbered = || (1..).zip(&spans);
        let steps = |parent: u64| {
            let below = numbered().filter(|(_, one)| one.name == "step" && one.parent == Some(parent));
            below
                .map(|(_, one)| format!("{} {}", one.fields["step"], one.fields["attempt"]))
                .collect()
        };
        numbered()
            .filter(|(_, one)| one.name == "operation")
            .map(|(number, one)| (one.clone(), steps(number)))
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn each_operation_is_one_trace_with_a_span_for_each_step() {
    let spans = Spans::default();
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.reserve("b", 1, 60, 120);
    let engine = lab.engine("only");
    // All on this one thread.
    let listening = tracing::subscriber::set_default(spans.clone());
    lab.run(&engine, at(90)).await;
    let order = ManualOrder {
        reservation: id("by-hand"),
        lab: None,
        host: host(2),
        kind: OperationKind::ManualStart,
        steps: vec![
            StepAction::Wake(WakeOrder::default()),
            StepAction::Prepare { args: Vec::new() },
        ],
        wait_for_host: Duration::ZERO,
        key: None,
    };
    let asked = tracing::info_span!("request");
    tracing::Instrument::instrument(engine.run_manual(order), asked)
        .await
        .unwrap();
    drop(listening);
    let operations = spans.operations();
    let seen: Vec<_> = operations
        .iter()
        .map(|(one, steps)| {
            let field = |name| one.fields[name].as_str();
            let of = format!("{} {}", field("reservation.id"), field("operation.kind"));
            (of, steps.join(", "))
        })
        .collect();
    let expected = [
        ("a start", "wake 1, prepare 1, activate 1"),
        ("a end", "release 1, complete 1"),
        ("b start", "wake 1, prepare 1, activate 1"),
        ("by-hand manual_start", "wake 1, prepare 1"),
    ];
    assert_eq!(
        seen,
        expected.map(|(of, steps)| (of.to_owned(), steps.to_owned()))
    );
    for (one, _) in &operations[..3] {
        assert_eq!(one.parent, None, "{one:?}");
        for field in ["operation.id", "host.name", "claim.token"] {
            assert!(!one.fields[field].is_empty(), "{one:?}");
        }
    }
    // A caller's one stays below the call.
    assert!(operations[3].0.parent.is_some());
}
