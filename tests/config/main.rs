//! berth's reader of `config.json` held against another one: `serde_json` with the crate
//! `oci-spec`.
//!
//! Both read the same text, and what each says of it is put into the same terms ([`ours`],
//! [`theirs`]), so that a difference is a field with two values. Three kinds of text are read:
//! configurations made up from the specification ([`generate`]), the same with a mistake in them,
//! and those that other tools write (`real/`, made by `real/make.sh`).
//!
//! Where the two differ on purpose is in the tables of [`differences`].

mod choices;
mod differences;
mod generate;
mod options;
mod ours;
mod resources;
mod spelling;
mod theirs;

use std::fs;
use std::path::Path;

use berth::parse::config::{Config, MOUNT_PLACES, MountPlace};
use oci_spec::runtime::Spec;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use choices::Choices;
use differences::{MINIMAL, REFUSED, REFUSED_OF_OTHER_TOOLS, TAKEN};
use spelling::spell;

/// What berth says of a text, or why it refuses it.
fn ours(text: &str) -> Result<Value, String> {
    let mut scratch = vec![0; text.len()];
    let mut places = [const { MountPlace::uninit() }; MOUNT_PLACES];
    match Config::parse(text.as_bytes(), &mut scratch, &mut places) {
        Ok(config) => Ok(ours::said(&config)),
        Err(error) => Err(error.to_string()),
    }
}

/// What the crate says of it.
fn theirs(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str::<Spec>(text).map(|spec| theirs::said(&spec))
}

/// The fields in which they differ.
fn difference(ours: &Value, theirs: &Value) -> String {
    let mut found = String::new();
    compare("", ours, theirs, &mut found);
    found
}

fn compare(path: &str, ours: &Value, theirs: &Value, found: &mut String) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let mut names: Vec<_> = a.keys().chain(b.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                compare(&format!("{path}.{name}"), &ours[name], &theirs[name], found);
            }
        }
        _ if ours == theirs => {}
        _ => found.push_str(&format!("{path}: berth {ours}, the crate {theirs}\n")),
    }
}

/// A made-up configuration, as the crate writes it.
fn generated(decisions: &[u8]) -> Value {
    let made = generate::config(&mut Choices::new(decisions));
    let spec: Spec = serde_json::from_value(made.clone()).expect("the crate takes it");
    let written = serde_json::to_value(&spec).unwrap();
    // A member that the crate does not know would be tested by nobody.
    assert_kept("", &made, &written);
    written
}

/// What says something is in both. The crate adds what it has by default.
fn assert_kept(path: &str, made: &Value, written: &Value) {
    match (made, written) {
        (Value::Object(made), _) => {
            for (name, value) in made {
                assert_kept(&format!("{path}.{name}"), value, &written[name]);
            }
        }
        (Value::Array(made), Value::Array(written)) => {
            assert_eq!(made.len(), written.len(), "{path}");
            // Capabilities are sets, which have no order.
            let is_set = path.starts_with(".process.capabilities.");
            for (made, other) in made.iter().zip(written) {
                match is_set {
                    true => assert!(written.contains(made), "{path}: {made}"),
                    false => assert_kept(path, made, other),
                }
            }
        }
        (Value::Array(made), Value::Null) if made.is_empty() => {}
        _ => assert_eq!(made, written, "{path}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 3000, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn generated_configurations_say_the_same_to_both(
        decisions in vec(any::<u8>(), 0..1500),
        spelling in vec(any::<u8>(), 0..6000),
    ) {
        let text = spell(&generated(&decisions), &mut Choices::new(&spelling));
        let (ours, theirs) = (ours(&text), theirs(&text));
        prop_assert!(ours.is_ok() && theirs.is_ok(), "{ours:?}, {theirs:?}\nin {text}");
        let difference = difference(&ours.unwrap(), &theirs.unwrap());
        prop_assert!(difference.is_empty(), "{difference}in {text}");
    }

    #[test]
    fn wrong_configurations_that_both_take_say_the_same_to_both(
        decisions in vec(any::<u8>(), 0..1500),
        mistakes in vec(any::<u8>(), 1..100),
    ) {
        let mut config = generated(&decisions);
        let mut choices = Choices::new(&mistakes);
        for _ in 0..=choices.below(2) {
            mistake(&mut config, &mut choices);
        }
        let text = config.to_string();
        if let (Ok(ours), Ok(theirs)) = (ours(&text), theirs(&text)) {
            let difference = difference(&ours, &theirs);
            prop_assert!(difference.is_empty(), "{difference}in {text}");
        }
    }
}

/// Puts something in the place of a value, anywhere.
fn mistake(value: &mut Value, c: &mut Choices<'_>) {
    let deeper = match value {
        Value::Object(members) if !members.is_empty() && c.below(8) != 7 => {
            let place = c.below(members.len());
            members.values_mut().nth(place)
        }
        Value::Array(items) if !items.is_empty() && c.below(8) != 7 => {
            let place = c.below(items.len());
            items.get_mut(place)
        }
        _ => None,
    };
    match deeper {
        Some(deeper) => mistake(deeper, c),
        None => {
            *value = match c.below(12) {
                0 => Value::Null,
                1 => json!(0),
                2 => json!(-1),
                3 => json!(u64::MAX),
                4 => json!(1.5),
                5 => json!(""),
                6 => json!(c.text()),
                7 => json!([]),
                8 => json!({}),
                9 => json!(c.flag()),
                10 => json!(u32::MAX),
                _ => json!([value.clone(), value.clone()]),
            }
        }
    }
}

#[test]
fn configurations_of_other_tools_say_the_same_to_both() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/real");
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "json") {
            continue;
        }
        count += 1;
        let name = path.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let theirs = theirs(&text).unwrap_or_else(|error| panic!("{name}: the crate: {error}"));
        match (
            ours(&text),
            REFUSED_OF_OTHER_TOOLS.iter().find(|it| it.0 == name),
        ) {
            (Ok(ours), None) => assert_eq!(difference(&ours, &theirs), "", "{name}"),
            (Err(error), Some((_, expected))) => assert_eq!(&error, expected, "{name}"),
            (ours, _) => panic!("{name}: {ours:?}"),
        }
    }
    assert_eq!(count, 13);
}

/// [`MINIMAL`] with `value`, or without anything, at `pointer`.
fn changed(pointer: &str, value: &str) -> String {
    let mut config: Value = serde_json::from_str(MINIMAL).unwrap();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = config
        .pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .unwrap();
    match value {
        "" => parent.remove(name),
        value => parent.insert(name.to_owned(), serde_json::from_str(value).unwrap()),
    };
    config.to_string()
}

#[test]
fn what_only_berth_refuses_is_refused_by_name() {
    for (pointer, value, expected) in REFUSED {
        let text = changed(pointer, value);
        if let Err(error) = serde_json::from_str::<Spec>(&text) {
            panic!("{pointer} {value}: {error}");
        }
        assert_eq!(ours(&text).unwrap_err(), *expected, "{pointer} {value}");
    }
}

#[test]
fn what_only_berth_takes_is_known() {
    for (pointer, value) in TAKEN {
        let text = changed(pointer, value);
        let theirs = serde_json::from_str::<Spec>(&text);
        assert!(theirs.is_err(), "{pointer} {value}");
        let error = ours(&text).err();
        assert_eq!(error, None, "{pointer} {value}");
    }
}
