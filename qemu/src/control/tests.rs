//! The client against a machine that is a thread with the other end of the socket.

use std::io::{BufRead, BufReader, Write};
use std::thread;

use super::*;

/// A client, and the other end of its connection.
fn connected() -> (Client, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let client = Client::new(ours).unwrap().patience(Duration::from_secs(10));
    (client, theirs)
}

/// Reads requests, and writes what `answer` makes of each, until the client is gone.
fn serve(stream: UnixStream, mut answer: impl FnMut(&Value) -> Vec<Value> + Send + 'static) {
    thread::spawn(move || {
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        for line in lines.map_while(Result::ok).filter(|line| !line.is_empty()) {
            let request: Value = serde_json::from_str(&line).unwrap();
            for mut reply in answer(&request) {
                if reply.get("id").is_none() {
                    reply["id"] = request["id"].clone();
                }
                writeln!(&stream, "{reply}").unwrap();
            }
        }
    });
}

#[test]
fn answer_is_collected_to_its_end() {
    let (mut client, machine) = connected();
    serve(machine, |request| match request["do"].as_str() {
        Some("list") => vec![
            json!({ "more": { "id": "a" } }),
            json!({ "more": { "id": "b" } }),
            json!({ "ok": {} }),
        ],
        _ => vec![json!({ "error": { "code": "B070", "text": "no", "hint": "ask\nagain" } })],
    });
    let found = client.ask(json!({ "do": "list" })).unwrap();
    assert_eq!(found, [json!({ "id": "a" }), json!({ "id": "b" })]);
    let refusal = client.refused(json!({ "do": "x" })).unwrap();
    assert_eq!((refusal.code.as_str(), refusal.status), ("B070", None));
    assert_eq!(refusal.to_string(), "no\n  ask\n  again");
    // What was not expected says what was answered.
    let error = client.ask(json!({ "do": "x" })).unwrap_err().to_string();
    assert!(error.contains("ask"), "{error}");
    let error = client.refused(json!({ "do": "list" })).unwrap_err();
    assert!(error.to_string().contains("was done"), "{error}");
}

#[test]
fn what_an_earlier_client_has_left_is_skipped() {
    let (mut client, machine) = connected();
    writeln!(&machine, "ne\":\"half a line\"}}}}").unwrap();
    writeln!(
        &machine,
        r#"{{"id":0,"error":{{"code":"B070","text":"half a line"}}}}"#
    )
    .unwrap();
    writeln!(&machine, "{}", "x".repeat(8000)).unwrap();
    serve(machine, |_| vec![json!({ "ok": {} })]);
    let id = client.begin(json!({ "do": "list" })).unwrap();
    assert!(matches!(client.next(id).unwrap(), Reply::Ok(_)));
    // Two clients do not begin with the same number.
    assert_ne!(connected().0.sender.first(), connected().0.sender.first());
}

#[test]
fn client_begins_with_an_empty_line() {
    let (client, machine) = connected();
    client.begin(json!({ "do": "list" })).unwrap();
    let mut lines = BufReader::new(machine).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "");
    assert_eq!(lines.next().unwrap().unwrap(), "", "an empty line");
    let request: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(request["do"], "list");
}

#[test]
fn answers_are_told_apart_by_their_numbers() {
    let (mut client, machine) = connected();
    let (first, second) = (
        client.begin(json!({ "do": "a" })).unwrap(),
        client.begin(json!({ "do": "b" })).unwrap(),
    );
    for id in [second, first] {
        writeln!(&machine, "{}", json!({ "id": id, "ok": { "of": id } })).unwrap();
    }
    for id in [first, second] {
        let answer = client.finish(id).unwrap();
        assert_eq!(answer.end.unwrap()["of"], id);
    }
}

#[test]
fn silence_fails_with_what_came_so_far() {
    let (client, machine) = connected();
    let mut client = client.patience(Duration::from_millis(20));
    let id = client.begin(json!({ "do": "logs" })).unwrap();
    let error = client.finish(id).unwrap_err().to_string();
    assert!(error.contains("nothing came so far"), "{error}");
    writeln!(
        &machine,
        "{}",
        json!({ "id": id, "more": { "line": "ready" } })
    )
    .unwrap();
    (&machine).write_all(b"{\"id\":").unwrap();
    let error = client.finish(id).unwrap_err().to_string();
    assert!(error.contains("does not answer"), "{error}");
    assert!(
        error.contains("ready") && error.contains("| {\"id\":"),
        "{error}"
    );
}

#[test]
fn machine_that_does_not_keep_to_the_protocol_is_found_out() {
    for line in [
        "{}".to_owned(),
        "hello".to_owned(),
        r#"{"id":ID}"#.to_owned(),
        r#"{"id":ID,"ok":{},"more":{}}"#.to_owned(),
        r#"{"id":ID,"error":{}}"#.to_owned(),
        r#"{"id":-1,"ok":{}}"#.to_owned(),
        format!(r#"{{"id":ID,"ok":{{"x":"{}"}}}}"#, "x".repeat(1 << 15)),
    ] {
        let (mut client, machine) = connected();
        let id = client.begin(json!({ "do": "list" })).unwrap();
        writeln!(&machine, "{}", json!({ "id": id, "more": {} })).unwrap();
        writeln!(&machine, "{}", line.replace("ID", &id.to_string())).unwrap();
        let error = client.finish(id).unwrap_err().to_string();
        assert!(
            error.contains("does not speak the protocol"),
            "{line}: {error}"
        );
    }
}

#[test]
fn machine_that_is_gone_is_said_to_be() {
    let (mut client, machine) = connected();
    let id = client.begin(json!({ "do": "list" })).unwrap();
    drop(machine);
    let error = client.finish(id).unwrap_err().to_string();
    assert!(error.contains("has ended"), "{error}");
}

#[test]
fn request_that_is_too_long_is_not_sent() {
    let (mut client, machine) = connected();
    serve(machine, |_| vec![json!({ "ok": {} })]);
    let long = json!({ "do": "exec", "args": ["x".repeat(MESSAGE_MAX)] });
    let error = client.begin(long).unwrap_err().to_string();
    assert!(error.contains("8192"), "{error}");
    client.ask(json!({ "do": "list" })).unwrap();
}

#[test]
fn program_gets_its_input_and_gives_its_output() {
    let (mut client, machine) = connected();
    let mut begun = None;
    // A program that writes what it reads to both of its outputs, and counts the pieces.
    let mut pieces = 0;
    serve(machine, move |request| {
        if request["do"] == "exec" {
            begun = Some(request["id"].clone());
            return Vec::new();
        }
        let id = begun.as_ref().unwrap();
        assert_eq!(&request["for"], id);
        if request["end"] == true {
            let ended = json!({ "id": id, "ok": { "status": pieces } });
            return vec![json!({ "ok": {} }), ended];
        }
        assert!(request.to_string().len() < MESSAGE_MAX);
        pieces += 1;
        let data = &request["data"];
        vec![
            json!({ "ok": {} }),
            json!({ "id": id, "more": { "stdout": data } }),
            json!({ "id": id, "more": { "stderr": data } }),
        ]
    });
    let sent: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let request = json!({ "container": "web", "args": ["tee"] });
    let ran = client.exec(request, &sent).unwrap();
    assert_eq!(ran.status, 98);
    assert!(ran.stdout == sent && ran.stderr == sent);
}

#[test]
fn socket_is_its_owners_and_may_have_a_long_name() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("directory-with-a-name".repeat(10));
    std::fs::create_dir(&long).unwrap();
    for path in [dir.path().join("socket"), long.join("socket")] {
        let none = connect(&path).unwrap_err().to_string();
        assert!(none.contains("`make run`"), "{none}");
        let listener = listen(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut client = Client::connect(&path).unwrap();
        let listener = std::os::unix::net::UnixListener::from(listener);
        serve(listener.accept().unwrap().0, |_| vec![json!({ "ok": {} })]);
        client.ask(json!({ "do": "list" })).unwrap();
        // It is another machine's as long as that is there.
        let error = listen(&path).unwrap_err().to_string();
        assert!(error.contains("a machine that runs"), "{error}");
        drop(listener);
        let none = connect(&path).unwrap_err().to_string();
        assert!(none.contains("`make run`"), "{none}");
        drop(listen(&path).unwrap());
    }
    let file = dir.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(listen(&file).is_err());
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
}

#[test]
fn one_client_at_a_time_and_the_next_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let first = Lock::take(&socket, "logs web", |_| panic!("nobody has it")).unwrap();
    let (told, telling) = std::sync::mpsc::channel();
    let path = socket.clone();
    let second = thread::spawn(move || {
        Lock::take(&path, "list", |holder| {
            told.send(holder.to_owned()).unwrap()
        })
        .unwrap()
    });
    let holder = telling.recv().unwrap();
    assert_eq!(holder, format!("process {}: logs web", std::process::id()));
    drop(first);
    drop(second.join().unwrap());
    // Where no file can be made there is no lock.
    let _none = Lock::take(Path::new("/proc/socket"), "list", |_| panic!("nobody")).unwrap();
}
