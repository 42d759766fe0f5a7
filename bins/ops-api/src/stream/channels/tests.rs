use super::super::event::ErrorEvent;
use super::*;

fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

fn news(text: &str) -> News {
    News::Error(ErrorEvent {
        host: "ws".to_owned(),
        error: text.to_owned(),
        code: "connect".to_owned(),
        at: String::new(),
    })
}

fn these(names: &[&str]) -> Watched {
    Watched::These(names.iter().map(|name| host(name)).collect())
}

fn id(frame: &Bytes) -> String {
    let text = std::str::from_utf8(frame).unwrap();
    text.lines()
        .find_map(|line| line.strip_prefix("id: "))
        .unwrap()
        .to_owned()
}

fn texts(frames: &[Bytes]) -> Vec<String> {
    let text = |frame: &Bytes| {
        let text = String::from_utf8(frame.to_vec()).unwrap();
        text.split("\"error\":\"").nth(1).map_or_else(
            || text.lines().next().unwrap().to_owned(),
            |rest| rest.split('"').next().unwrap().to_owned(),
        )
    };
    frames.iter().map(text).collect()
}

#[test]
fn who_comes_back_gets_exactly_what_it_missed() {
    let mut channels = Channels::new();
    let (a, b) = (host("a"), host("b"));
    channels.publish(&a, news("1"));
    let first = channels.join(&these(&["a", "b"]), true, 10, None);
    assert_eq!(
        (texts(&first.first), first.resumed),
        (vec!["1".to_owned()], false)
    );
    let last = id(&first.first[0]);
    channels.leave(first.number);
    for (host, text) in [(&a, "2"), (&b, "3"), (&a, "4")] {
        channels.publish(host, news(text));
    }
    let back = channels.join(&these(&["B", "A"]), true, 10, Some(&last));
    assert_eq!(
        (texts(&back.first), back.resumed),
        (vec!["2".into(), "3".into(), "4".into()], true)
    );
    let all = channels.join(&Watched::All, true, 10, Some(&last));
    assert_eq!(texts(&all.first).len(), 3);
    let nothing = channels.join(&these(&["a"]), true, 10, Some(&id(&back.first[2])));
    assert_eq!((nothing.first.len(), nothing.resumed), (0, true));
}

#[test]
fn a_gap_that_cannot_be_filled_is_told() {
    let mut channels = Channels::new();
    let a = host("a");
    channels.publish(&a, news("0"));
    let last = id(&channels.join(&these(&["a"]), true, 10, None).first[0]);
    for number in 1..=KEPT + 1 {
        channels.publish(&a, news(&number.to_string()));
    }
    let newest = (KEPT + 1).to_string();
    for id in [last.as_str(), "other-1", "nonsense", ""] {
        let back = channels.join(&these(&["a"]), true, 10, Some(id));
        assert!(!back.resumed, "{id}");
        assert_eq!(
            texts(&back.first),
            ["event: reset".to_owned(), newest.clone()],
            "{id}"
        );
    }
    // Another host's ring is whole.
    assert!(channels.join(&these(&["b"]), true, 10, Some(&last)).resumed);
}

#[test]
fn a_ring_is_bounded_in_bytes_too() {
    let mut channels = Channels::new();
    let a = host("a");
    for _ in 0..10 {
        channels.publish(&a, news(&"x".repeat(KEPT_BYTES / 4)));
    }
    let channel = &channels.hosts[&a];
    assert!(
        channel.bytes <= KEPT_BYTES && channel.ring.len() == 3,
        "{}",
        channel.ring.len()
    );
}

#[test]
fn a_slow_viewer_is_let_go_and_the_others_miss_nothing() {
    let mut channels = Channels::new();
    let a = host("a");
    let slow = channels.join(&these(&["a"]), true, 2, None);
    let other = channels.join(&Watched::All, true, 100, None);
    for number in 0..5 {
        channels.publish(&a, news(&number.to_string()));
    }
    assert!(slow.viewer.is_over());
    assert_eq!(slow.viewer.waiting(), (0, 0));
    assert_eq!(other.viewer.waiting().0, 5);
    assert!(channels.hosts[&a].viewers.is_empty());
    channels.leave(other.number);
    assert!(channels.is_deserted() && channels.deserted.is_some());
}

#[test]
fn an_event_is_written_once_for_all_viewers() {
    let mut channels = Channels::new();
    let a = host("a");
    let viewers: Vec<Joined> = (0..50)
        .map(|_| channels.join(&these(&["a"]), true, 10, None))
        .collect();
    channels.publish(&a, news("once"));
    let at: HashSet<*const u8> = viewers
        .iter()
        .map(|joined| joined.viewer.peek().unwrap().as_ptr())
        .collect();
    assert_eq!(at.len(), 1);
}
