use super::*;

#[test]
fn history_is_listed_with_its_end() {
    let kept = Retention { system: "Loki".into(), selector: "{namespace=\"matih-acme\"}".into(), hours: 48 };
    let listed = retained(&[kept], "2026-02-12T10:00:00Z".parse().unwrap());
    assert_eq!(
        serde_json::to_value(listed).unwrap(),
        serde_json::json!([{
            "system": "Loki", "selector": "{namespace=\"matih-acme\"}", "hours": 48,
            "retainedUntil": "2026-02-14T10:00:00Z",
        }])
    );
}

#[test]
fn a_long_list_is_named_in_part_and_counted_in_full() {
    let one = |number: usize| Leftover {
        kind: "Pod".into(),
        namespace: Some("matih-acme".into()),
        name: format!("p{number}"),
        state: "present".into(),
    };
    let few = left_over(&[one(1), one(2)]).message;
    assert_eq!(few, "2 left: Pod matih-acme/p1 (present), Pod matih-acme/p2 (present)");
    let many: Vec<Leftover> = (0..25).map(one).collect();
    let many = left_over(&many).message;
    assert!(many.starts_with("25 left: ") && many.ends_with(", and 15 more"), "{many}");
}
