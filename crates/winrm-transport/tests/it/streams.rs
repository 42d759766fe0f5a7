//! Output as it comes, input as it goes, and the surroundings of a program.

use std::time::Duration;

use host_sim::{At, DoneStyle, Fault, Program, Step};
use tokio::time::timeout;
use winrm_transport::{
    Chunk, Client, Command, Effect, Error, LostBecause, Running, Stage, Stream, TextDecoder,
};

use crate::lab::{LIMIT, Lab, eventually, status};

async fn lab_with(program: Program) -> Lab {
    Lab::start(|spec| spec.station.programs = vec![program]).await
}

fn tool() -> Command {
    Command::new("tool.exe")
}

async fn next(running: &mut Running) -> Option<Chunk> {
    timeout(LIMIT, running.next()).await.unwrap()
}

#[tokio::test]
async fn output_arrives_while_the_program_still_runs() {
    let steps = [
        Step::Out(b"first".into()),
        Step::Err(b"oops".into()),
        Step::CopyInput,
        Step::Exit(7),
    ];
    let lab = lab_with(Program::new("tool.exe", steps)).await;
    let client = Client::new(lab.http()).unwrap();
    let mut running = client.start(&tool(), LIMIT).await.unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while out.len() < 5 || err.len() < 4 {
        let chunk = next(&mut running).await.unwrap();
        match chunk.stream {
            Stream::Stdout => out.extend(chunk.bytes),
            Stream::Stderr => err.extend(chunk.bytes),
        }
    }
    assert_eq!((out, err), (b"first".to_vec(), b"oops".to_vec()));
    // It cannot have ended: it waits for this.
    running.send("now", false).await.unwrap();
    let chunk = next(&mut running).await.unwrap();
    assert_eq!((chunk.stream, chunk.bytes), (Stream::Stdout, b"now".to_vec()));
    running.send("", true).await.unwrap();
    assert_eq!(next(&mut running).await, None);
    let output = running.exit().await.unwrap();
    assert_eq!(
        (output.exit_code, output.truncated, output.stdout.len()),
        (Some(7), false, 0)
    );
    // The second connection was for the input.
    assert_eq!(client.stats().connections, 2);
    lab.end(client).await;
}

#[tokio::test]
async fn megabytes_in_odd_pieces_arrive_whole() {
    const LENGTH: usize = 3_000_001;
    for done in [DoneStyle::Together, DoneStyle::After] {
        let lab = Lab::start(|spec| {
            spec.done = done;
            spec.station.programs = vec![Program::new("tool.exe", [Step::Fill(LENGTH), Step::Exit(-5)])];
        })
        .await;
        let client = Client::new(lab.http()).unwrap();
        let expected: Vec<u8> = (b'a'..=b'z').cycle().take(LENGTH).collect();
        let output = client.run(&tool(), LIMIT).await.unwrap();
        assert!(output.stdout == expected, "{} bytes", output.stdout.len());
        assert_eq!((output.exit_code, output.truncated), (Some(-5), false));
        let mut running = client.start(&tool(), LIMIT).await.unwrap();
        let mut streamed = Vec::new();
        while let Some(chunk) = next(&mut running).await {
            streamed.extend(chunk.bytes);
        }
        assert!(streamed == expected, "{} bytes", streamed.len());
        assert_eq!(running.exit().await.unwrap().exit_code, Some(-5));
        lab.end(client).await;
    }
}

#[tokio::test]
async fn a_character_cut_between_chunks_stays_whole_as_text() {
    // Pieces of 8,191 bytes cut two-byte characters now and then.
    let text = "\u{e4}".repeat(20_000);
    let lab = lab_with(Program::new("tool.exe", [Step::Out(text.clone().into())])).await;
    let client = Client::new(lab.http()).unwrap();
    let mut running = client.start(&tool(), LIMIT).await.unwrap();
    let (mut decoder, mut seen) = (TextDecoder::default(), String::new());
    while let Some(chunk) = next(&mut running).await {
        seen.push_str(&decoder.push(&chunk.bytes));
    }
    seen.push_str(&decoder.finish());
    assert!(seen == text);
    running.exit().await.unwrap();
    lab.end(client).await;
}

#[tokio::test]
async fn exit_alone_waits_for_the_end_and_drops_the_output() {
    let lab = lab_with(Program::new("tool.exe", [Step::Fill(2_000_000), Step::Exit(4)])).await;
    let client = Client::new(lab.http()).unwrap();
    let running = client.start(&tool(), LIMIT).await.unwrap();
    assert_eq!(running.exit().await.unwrap().exit_code, Some(4));
    lab.end(client).await;
}

#[tokio::test]
async fn interrupt_and_terminate_end_a_program() {
    const CONTROL_C: i32 = 0xC000_013A_u32 as i32;
    let lab = lab_with(Program::new("tool.exe", [Step::Out(b"on".into()), Step::Forever])).await;
    let client = Client::new(lab.http()).unwrap();
    let mut running = client.start(&tool(), LIMIT).await.unwrap();
    assert!(next(&mut running).await.is_some());
    running.interrupt().await.unwrap();
    assert_eq!(running.exit().await.unwrap().exit_code, Some(CONTROL_C));
    let mut running = client.start(&tool(), LIMIT).await.unwrap();
    assert!(next(&mut running).await.is_some());
    running.terminate().await.unwrap();
    // The host may have forgotten the command by the time it is asked.
    let code = running.exit().await.unwrap().exit_code;
    assert!(matches!(code, None | Some(CONTROL_C)), "{code:?}");
    assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    lab.end(client).await;
}

#[tokio::test]
async fn the_deadline_ends_a_stream_also_when_nobody_reads_it() {
    let short = Duration::from_secs(4);
    for steps in [vec![Step::Forever], vec![Step::Fill(8_000_000), Step::Forever]] {
        let lab = lab_with(Program::new("tool.exe", steps)).await;
        let mut settings = lab.http();
        settings.limits.envelope_bytes = 16_384;
        let client = Client::new(settings).unwrap();
        let running = client.start(&tool(), short).await.unwrap();
        assert!(lab.is_tidy().await, "the shell goes without another call");
        let error = running.exit().await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::DeadlineExpired {
                    during: Stage::Receive,
                    ..
                }
            ),
            "{error:?}"
        );
        assert_eq!(error.effect(), Effect::Unknown);
        lab.end(client).await;
    }
}

#[tokio::test]
async fn dropping_a_stream_terminates_its_command() {
    let lab = lab_with(Program::new("tool.exe", [Step::Out(b"on".into()), Step::Forever])).await;
    let client = Client::new(lab.http()).unwrap();
    let mut running = client.start(&tool(), LIMIT).await.unwrap();
    assert!(next(&mut running).await.is_some());
    drop(running);
    assert!(lab.is_tidy().await);
    assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    lab.end(client).await;
}

#[tokio::test]
async fn a_start_that_fails_says_so_at_once() {
    let lab = lab_with(Program::new("tool.exe", [])).await;
    let client = Client::new(lab.http()).unwrap();
    lab.host().set_fault(Fault::AccessDenied);
    let error = client.start(&tool(), LIMIT).await.unwrap_err();
    assert_eq!((error.code(), error.effect()), ("access_denied", Effect::None));
    lab.end(client).await;
}

#[tokio::test]
async fn what_is_sent_to_a_command_that_ended_is_refused_and_signals_are_not() {
    let lab = lab_with(Program::new("tool.exe", [Step::Exit(0)])).await;
    let client = Client::new(lab.http()).unwrap();
    let mut running = client.start(&tool(), LIMIT).await.unwrap();
    assert_eq!(next(&mut running).await, None);
    let error = running.send("late", true).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::ConnectionLost {
                source: LostBecause::Ended,
                ..
            }
        ),
        "{error:?}"
    );
    running.interrupt().await.unwrap();
    assert_eq!(running.exit().await.unwrap().exit_code, Some(0));
    lab.end(client).await;
}

#[tokio::test]
async fn standard_input_reaches_the_program_and_is_closed() {
    let (lab, client) = Lab::sealed().await;
    let output = client
        .run(&Command::new("sort").stdin("pear\r\napple\r\n"), LIMIT)
        .await
        .unwrap();
    assert_eq!(
        (output.stdout_text().as_ref(), output.exit_code),
        ("apple\r\npear\r\n", Some(0))
    );
    let output = client.run(&Command::new("sort").stdin(""), LIMIT).await.unwrap();
    assert_eq!((output.stdout.len(), output.exit_code), (0, Some(0)));
    lab.end(client).await;
}

#[tokio::test]
async fn input_of_any_size_and_its_echo_do_not_block_each_other() {
    let lab = lab_with(Program::new("tool.exe", [Step::CopyInput])).await;
    let client = Client::new(lab.https()).unwrap();
    let input: Vec<u8> = (0..1_000_003_u32).map(|n| (n % 251) as u8).collect();
    let output = client.run(&tool().stdin(input.clone()), LIMIT).await.unwrap();
    assert!(output.stdout == input, "{} bytes", output.stdout.len());
    lab.end(client).await;
}

#[tokio::test]
async fn a_program_that_does_not_read_its_input_is_no_failure() {
    let lab = lab_with(Program::new("tool.exe", [Step::Exit(6)])).await;
    let client = Client::new(lab.http()).unwrap();
    let output = client
        .run(&tool().stdin(vec![b'x'; 500_000]), LIMIT)
        .await
        .unwrap();
    assert_eq!(output.exit_code, Some(6));
    lab.end(client).await;
}

#[tokio::test]
async fn an_operation_timeout_on_send_is_maybe_written_and_never_sent_again() {
    let lab = lab_with(Program::new("tool.exe", [Step::CopyInput])).await;
    let client = Client::new(lab.http()).unwrap();
    lab.host()
        .set_fault_times(Fault::FaultCode(2_150_858_793, At::Send), 1);
    let error = client.run(&tool().stdin("once"), LIMIT).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Fault {
                during: Stage::Send,
                code: 2_150_858_793,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(error.effect(), Effect::Unknown);
    assert!(
        lab.is_tidy().await,
        "the program that waits for its input is ended"
    );
    lab.end(client).await;
}

#[tokio::test]
async fn directory_and_variables_reach_the_program_in_a_shell_of_its_own() {
    let show = [
        Step::ShowDirectory,
        Step::Out(b"|".into()),
        Step::ShowVariable("LAB".into()),
    ];
    let lab = lab_with(Program::new("tool.exe", show)).await;
    let client = Client::new(lab.http()).unwrap();
    let usual = client.run(&tool(), LIMIT).await.unwrap();
    assert!(usual.stdout_text().ends_with('|'), "{usual:?}");
    let command = tool()
        .current_dir(r"C:\O'Brien & co")
        .env("LAB", "<\u{fc}> \"1\" 100%");
    let output = client.run(&command, LIMIT).await.unwrap();
    assert_eq!(output.stdout_text(), "C:\\O'Brien & co|<\u{fc}> \"1\" 100%");
    assert!(
        eventually(|| lab.host().counts().open_shells == 1).await,
        "its own shell is gone, ours is not"
    );
    assert_eq!(client.run(&tool(), LIMIT).await.unwrap().stdout, usual.stdout);
    assert_eq!(lab.host().counts().shells_created, 2);
    for bad in [
        tool().env("A=B", ""),
        tool().env("", "x"),
        tool().env("A", "\0"),
        tool().current_dir(" "),
    ] {
        let error = client.run(&bad, LIMIT).await.unwrap_err();
        assert_eq!(error.code(), "command_refused", "{bad:?}");
    }
    lab.end(client).await;
}

#[tokio::test]
async fn a_shell_of_its_own_goes_also_when_the_command_fails() {
    let lab = lab_with(Program::new("tool.exe", [Step::Forever])).await;
    let client = Client::new(lab.http()).unwrap();
    let error = client
        .run(&tool().env("A", "b"), Duration::from_millis(300))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "deadline_expired");
    assert!(lab.is_tidy().await);
    lab.host()
        .set_fault_times(Fault::FaultCode(2_147_942_402, At::Command), 1);
    let error = client.run(&tool().env("A", "b"), LIMIT).await.unwrap_err();
    assert_eq!(error.code(), "fault");
    assert!(lab.is_tidy().await);
    lab.end(client).await;
}
