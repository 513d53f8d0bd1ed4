//! Metrics as Prometheus reads them: what accounts and requests count for, the
//! alerts and the dashboard that come along. Needs root, for accounts, and
//! Prometheus.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::common::{Server, Setup, account, own_address, wait_until};
use crate::without_root;

fn conf(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("conf")
        .join(name)
}

/// The body of an answer over HTTP.
fn get(address: &str, path: &str) -> Option<String> {
    let mut socket = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    socket.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.to_owned())
}

/// A value of the text with the metrics.
#[track_caller]
fn value(text: &str, series: &str) -> u64 {
    let line = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
    let found = text.lines().find_map(line);
    found.unwrap_or_else(|| panic!("no {series} in {text}"))
}

/// A server with two accounts, of which one has a quota, that has served some
/// requests, and where its metrics are.
fn busy_server() -> (Server, String) {
    let address = format!("{}:9345", own_address());
    let users = account("ann", "a", "games::quota=100000:") + &account("bob", "b", "mail:::");
    let server = Server::with(Setup {
        server: format!(
            "mode = \"multi-user\"\nusers = \"users\"\nmetrics = \"{address}\"\n\
             metrics_accounts = 1\nquota = \"1G\"\non_upload = [\"/bin/true\"]\n\
             on_upload_queue = \"jobs\""
        ),
        users,
        ..Setup::default()
    });
    fs::set_permissions(server.root(), fs::Permissions::from_mode(0o1777)).expect("mode");
    let mut ann = server.connect();
    ann.expect("LOGIN ann a", 0);
    ann.send_file("f", false, &[7; 60_000]);
    assert_eq!(ann.ask("SNDFILE 1 g"), "CONT");
    let piece = [b"CONT ", &[7; 60_000][..]].concat();
    assert!(ann.ask(piece).starts_with("FAILED 13 "));
    drop(ann);
    let mut bob = server.connect();
    bob.expect("LOGIN bob b", 0);
    bob.expect_all(&[("DEL missing", 9), ("FSTAT missing", 9)]);
    server.connect().expect("LOGIN bob wrong", 37);
    drop(bob);
    wait_until("all sessions have ended", || {
        let text = get(&address, "/metrics").expect("metrics");
        value(&text, "tfd_sessions") + value(&text, "tfd_gates") == 0
    });
    (server, address)
}

#[test]
fn requests_failures_quotas_and_the_disk_are_counted_also_by_account() {
    if without_root() {
        return;
    }
    let (server, address) = busy_server();
    let text = get(&address, "/metrics").expect("metrics");
    for (series, expected) in [
        ("tfd_requests_total{protocol=\"tf\",class=\"read\"}", 1),
        ("tfd_requests_total{protocol=\"tf\",class=\"add\"}", 1),
        ("tfd_requests_total{protocol=\"tf\",class=\"change\"}", 2),
        (
            "tfd_request_bytes_total{protocol=\"tf\",class=\"add\"}",
            60_000,
        ),
        ("tfd_requests_failed_total{protocol=\"tf\",code=\"9\"}", 2),
        ("tfd_requests_failed_total{protocol=\"tf\",code=\"13\"}", 1),
        ("tfd_no_room_total{reason=\"quota\"}", 1),
        ("tfd_no_room_total{reason=\"disk\"}", 0),
        ("tfd_quota_used_bytes", 60_000),
        ("tfd_account_requests_total{account=\"ann\"}", 2),
        ("tfd_account_requests_failed_total{account=\"ann\"}", 1),
        ("tfd_account_requests_total{account=\"all others\"}", 2),
        (
            "tfd_account_requests_failed_total{account=\"all others\"}",
            2,
        ),
        ("tfd_account_sessions{account=\"ann\"}", 0),
        ("tfd_account_quota_used_bytes{account=\"ann\"}", 60_000),
        ("tfd_account_quota_limit_bytes{account=\"ann\"}", 100_000),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
    assert!(value(&text, "tfd_account_bytes_received_total{account=\"ann\"}") > 60_000);
    assert!(!text.contains("account=\"bob\""), "{text}");
    let (size, free) = (
        value(&text, "tfd_disk_size_bytes"),
        value(&text, "tfd_disk_free_bytes"),
    );
    assert!(free > 0 && free < size, "{free} of {size}");
    drop(server);
}

#[test]
fn blocked_addresses_and_names_are_counted_for_as_long_as_they_are() {
    if without_root() {
        return;
    }
    let address = format!("{}:9345", own_address());
    let server = Server::with(Setup {
        server: format!(
            "mode = \"multi-user\"\nusers = \"users\"\nmetrics = \"{address}\"\n\
             login_failures = 2\nlogin_block = 3600"
        ),
        users: account("ann", "a", "games:::") + &account("bob", "b", "mail:::"),
        ..Setup::default()
    });
    let counts = || {
        let text = get(&address, "/metrics").expect("metrics");
        [
            "what=\"address\",by=\"failures\"",
            "what=\"account_from_address\",by=\"failures\"",
            "what=\"address\",by=\"operator\"",
            "what=\"account\",by=\"operator\"",
        ]
        .map(|labels| value(&text, &format!("tfd_logins_blocked{{{labels}}}")))
    };
    let tfd = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tfd"));
        command.args(arguments).arg("--config");
        let output = command.arg(server.config_path()).output().expect("tfd");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    assert_eq!(counts(), [0, 0, 0, 0]);
    for _ in 0..2 {
        server.connect().expect("LOGIN ann wrong", 37);
    }
    wait_until("ann's block counts", || counts() == [0, 1, 0, 0]);
    for n in 0..8 {
        server.connect().expect(format!("LOGIN name{n} guess"), 37);
    }
    wait_until("the address's block counts", || counts() == [1, 1, 0, 0]);
    tfd(&["unblock", "127.0.0.1"]);
    wait_until("none is left", || counts() == [0, 0, 0, 0]);
    tfd(&["user", "lock", "bob"]);
    wait_until("bob counts", || counts() == [0, 0, 0, 1]);
}

/// A running Prometheus that scrapes a tfd and has its alerts. Ends with the value.
struct Prometheus {
    child: Child,
    address: String,
    _dir: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn start(target: &str) -> Prometheus {
        let dir = tempfile::tempdir().expect("directory");
        let address = format!("{}:9090", own_address());
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{}]\n\
             scrape_configs:\n  - job_name: tfd\n    static_configs: [{{targets: [\"{target}\"]}}]\n",
            conf("prometheus-alerts.yml").display()
        );
        let file = dir.path().join("prometheus.yml");
        fs::write(&file, config).expect("write");
        let checked = promtool(&["check", "config", &file.display().to_string()], "");
        assert!(checked.0, "{}", checked.1);
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stdout(Stdio::null());
        Prometheus {
            child: command.spawn().expect("prometheus"),
            address,
            _dir: dir,
        }
    }

    /// What it answers to a request of its API; `None` while it is not ready.
    fn ask(&self, path: &str) -> Option<Value> {
        let answer = get(&self.address, &format!("/api/v1/{path}"))?;
        serde_json::from_str(&answer).ok()
    }

    /// The result of a query, which it must understand.
    #[track_caller]
    fn query(&self, expression: &str) -> Value {
        let encoded: String = expression.bytes().map(|c| format!("%{c:02x}")).collect();
        let answer = self.ask(&format!("query?query={encoded}")).expect("answer");
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].clone()
    }

    /// The names of all metrics that it has.
    fn names(&self) -> BTreeSet<String> {
        let answer = self.ask("label/__name__/values").expect("names");
        let names = answer["data"].as_array().expect("a list").iter();
        names
            .map(|name| name.as_str().expect("a name").to_owned())
            .collect()
    }
}

/// Whether promtool is content, and what it prints.
fn promtool(arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    let mut stdin = child.stdin.take().expect("input");
    stdin.write_all(input.as_bytes()).expect("write");
    drop(stdin);
    let output = child.wait_with_output().expect("promtool");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.success(), text)
}

fn without_prometheus() -> bool {
    let is_there = Command::new("promtool").arg("--version").output().is_ok();
    if !is_there {
        println!("left out: prometheus is not installed");
    }
    !is_there
}

/// The metrics that an expression names, without those of a hub and a keeper, and of state
/// that servers share: tests/hub and tests/fleet look at these.
fn named(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let others = ["tfd_hub_", "tfd_holder_", "tfd_shared_state_"];
    let ours = words.filter(|word| word.starts_with("tfd_"));
    let ours = ours.filter(|word| !others.iter().any(|of| word.starts_with(of)));
    ours.map(str::to_owned).collect()
}

#[test]
fn alerts_fire_on_what_they_name_and_on_nothing_else() {
    if without_prometheus() {
        return;
    }
    let rules = conf("prometheus-alerts.yml").display().to_string();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/isolation/alerts.yml");
    let cases = cases.display().to_string();
    for arguments in [["check", "rules", &rules], ["test", "rules", &cases]] {
        let (fine, text) = promtool(&arguments, "");
        assert!(fine, "{arguments:?}: {text}");
    }
    let cases = fs::read_to_string(cases).expect("cases");
    let rules = fs::read_to_string(rules).expect("rules");
    for alert in rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        let uses = cases.matches(alert).count();
        assert!(uses > 1, "{alert} has no case in which it fires");
    }
}

#[test]
fn prometheus_scrapes_what_alerts_and_dashboard_ask_for() {
    if without_root() || without_prometheus() {
        return;
    }
    let (server, target) = busy_server();
    let mut client = server.connect();
    client.expect("LOGIN ann a", 0);
    let text = get(&target, "/metrics").expect("metrics");
    let (fine, told) = promtool(&["check", "metrics"], &text);
    assert!(fine, "{told}");
    let prometheus = Prometheus::start(&target);
    wait_until("tfd is scraped", || {
        let answer = prometheus.ask("query?query=up%7Bjob%3D%22tfd%22%7D%3D%3D1");
        answer.is_some_and(|answer| answer["data"]["result"][0].is_object())
    });
    let names = prometheus.names();
    let metrics = |text: &str| -> BTreeSet<String> {
        let of = |line: &str| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned());
        text.lines().filter_map(of).collect()
    };
    for name in metrics(&text) {
        assert!(names.contains(&name), "{name} is not scraped");
    }
    let manual = include_str!("../../man/tfd.8");
    for name in metrics(&text) {
        assert!(manual.contains(&name), "tfd(8) lacks {name}");
    }
    let rules = || prometheus.ask("rules").expect("rules")["data"]["groups"][0]["rules"].clone();
    wait_until("all rules are evaluated", || {
        let rules = rules();
        let all = rules.as_array().expect("rules");
        !all.is_empty() && all.iter().all(|rule| rule["health"] == "ok")
    });
    for rule in rules().as_array().expect("rules") {
        let expression = rule["query"].as_str().expect("query");
        prometheus.query(expression);
        for name in named(expression) {
            assert!(names.contains(&name), "{}: {name}", rule["name"]);
        }
    }
    for (panel, expression) in expressions() {
        let plain = expression
            .replace("$__rate_interval", "5m")
            .replace("$job", "tfd")
            .replace("$instance", ".*");
        assert!(!plain.contains('$'), "{panel}: {plain}");
        prometheus.query(&plain);
        for name in named(&plain) {
            assert!(names.contains(&name), "{panel}: {name}");
        }
    }
    let sessions = prometheus.query("sum(tfd_sessions{job=\"tfd\"})");
    assert_eq!(sessions[0]["value"][1], "1", "{sessions}");
    client.expect_alive();
}

fn dashboard() -> Value {
    let text = fs::read_to_string(conf("grafana-tfd.json")).expect("dashboard");
    serde_json::from_str(&text).expect("JSON")
}

/// Each expression of the dashboard, and its panel's title.
fn expressions() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for panel in dashboard()["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("expression");
            all.push((title.to_owned(), expression.to_owned()));
        }
    }
    all
}

/// By Grafana's documented JSON model of dashboards.
#[test]
fn the_dashboard_has_what_grafana_asks_of_one() {
    let dashboard = dashboard();
    for text in ["uid", "title", "timezone", "refresh", "description"] {
        assert!(dashboard[text].is_string(), "{text}");
    }
    assert!(dashboard["uid"].as_str().is_some_and(|uid| uid.len() <= 40));
    assert!(dashboard["schemaVersion"].as_u64().is_some_and(|n| n >= 36));
    assert!(dashboard["time"]["from"].is_string() && dashboard["time"]["to"].is_string());
    assert!(dashboard["annotations"]["list"].is_array() && dashboard["tags"].is_array());
    let variables = dashboard["templating"]["list"]
        .as_array()
        .expect("variables");
    let names: Vec<_> = variables
        .iter()
        .map(|of| of["name"].as_str().expect("name"))
        .collect();
    assert_eq!(names, ["datasource", "job", "instance"]);
    for variable in variables {
        let kind = variable["type"].as_str().expect("type");
        assert!(["datasource", "query"].contains(&kind), "{kind}");
        assert!(!variable["query"].is_null(), "{variable}");
    }
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("title");
        assert!(ids.insert(panel["id"].as_u64().expect("id")), "{title}");
        let kind = panel["type"].as_str().expect("type");
        let place = |of: &str| panel["gridPos"][of].as_u64().expect("place");
        let (x, y, w, h) = (place("x"), place("y"), place("w"), place("h"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{title}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(places.insert(cell), "{title} covers another panel");
        }
        if kind == "row" {
            assert!(panel["collapsed"] == false && panel["panels"] == Value::Array(Vec::new()));
            continue;
        }
        let kinds = ["timeseries", "stat", "gauge", "bargauge", "table"];
        assert!(kinds.contains(&kind), "{title}: {kind}");
        assert!(panel["fieldConfig"]["defaults"].is_object(), "{title}");
        assert!(panel["fieldConfig"]["overrides"].is_array(), "{title}");
        let targets = panel["targets"].as_array().expect("targets");
        let references: BTreeSet<_> = targets.iter().map(|of| of["refId"].as_str()).collect();
        assert!(
            references.len() == targets.len() && !targets.is_empty(),
            "{title}"
        );
        for source in targets
            .iter()
            .map(|of| &of["datasource"])
            .chain([&panel["datasource"]])
        {
            assert_eq!(source["type"], "prometheus", "{title}");
            assert_eq!(source["uid"], "${datasource}", "{title}");
        }
    }
    assert!(expressions().len() > 20);
}
