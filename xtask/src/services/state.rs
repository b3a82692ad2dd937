//! The record of the servers that were left running, as JSON.

use serde_json::{Map, Value, json};

use crate::servers::Running;

pub(super) fn text(all: &[Running]) -> String {
    let servers = all.iter().map(|running| {
        let variables: Map<String, Value> =
            running.variables.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({
            "name": running.name,
            "pid": running.pid,
            "folder": running.folder.to_string_lossy(),
            "stop_signal": running.stop_signal,
            "variables": variables,
        })
    });
    Value::from_iter(servers).to_string()
}

pub(super) fn parse(text: &str) -> Result<Vec<Running>, String> {
    let servers: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    servers.as_array().ok_or("it is no list")?.iter().map(one).collect()
}

fn one(server: &Value) -> Result<Running, String> {
    let missing = |field: &str| format!("a server has no `{field}`");
    let text = |field: &str| server.get(field).and_then(Value::as_str).ok_or_else(|| missing(field));
    let pid = server.get("pid").and_then(Value::as_u64).and_then(|pid| u32::try_from(pid).ok());
    let variables = server.get("variables").and_then(Value::as_object).ok_or_else(|| missing("variables"))?;
    let variables = variables.iter().map(|(name, value)| match value.as_str() {
        Some(value) => Ok((name.clone(), value.to_owned())),
        None => Err(format!("variable `{name}` is no text")),
    });
    Ok(Running {
        name: text("name")?.to_owned(),
        pid: pid.ok_or_else(|| missing("pid"))?,
        folder: text("folder")?.into(),
        stop_signal: text("stop_signal")?.to_owned(),
        variables: variables.collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::{parse, text};
    use crate::servers::Running;

    #[test]
    fn what_is_written_is_read_again_and_what_is_broken_is_named() {
        let running = Running {
            name: "Fig".to_owned(),
            pid: 42,
            folder: "/f".into(),
            stop_signal: "TERM".to_owned(),
            variables: vec![("FIG_URL".to_owned(), "fig://'x'".to_owned())],
        };
        assert_eq!(parse(&text(&[])), Ok(vec![]));
        assert_eq!(parse(&text(std::slice::from_ref(&running))), Ok(vec![running]));
        for (text, named) in [("", "EOF"), ("{}", "no list"), ("[{\"variables\":{}}]", "`name`")] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(named), "{text:?}: {problem}");
        }
    }
}
