//! `tfd check`: prints every problem, or what would be served.

use std::path::Path;
use std::process::ExitCode;

use crate::admin::status::say;
use crate::config::{Config, Mode, Problem, check_listen, check_pool, check_world, warnings};

/// Prints every problem of a configuration to standard error, or a summary
/// to standard output. The exit code is 0 without a problem, else 1.
#[must_use]
pub fn report(path: &Path) -> ExitCode {
    let problems = match Config::load(path) {
        Err(problems) => problems,
        Ok(config) => {
            let mut problems = check_world(&config);
            problems.extend(check_listen(&config));
            if problems.is_empty() {
                return report_pool(&config);
            }
            problems.extend(check_pool(&config));
            problems
        }
    };
    print(&problems, "tfd would not start")
}

/// The end of a check that found no other problem.
fn report_pool(config: &Config) -> ExitCode {
    let problems = check_pool(config);
    for warning in warnings(config) {
        eprintln!("tfd: warning: {warning}");
    }
    if problems.is_empty() {
        return say(&format!("{}\n", summary(config)));
    }
    print(
        &problems,
        "tfd would start without these servers of the pool",
    )
}

fn print(problems: &[Problem], outcome: &str) -> ExitCode {
    for problem in problems {
        eprintln!("tfd: {problem}");
    }
    let s = if problems.len() == 1 { "" } else { "s" };
    eprintln!("tfd: {} problem{s}, {outcome}", problems.len());
    ExitCode::FAILURE
}

fn summary(config: &Config) -> String {
    let mut listen = Vec::new();
    for listener in config.listeners() {
        let with = if listener.tls { " (TLS)" } else { "" };
        listen.push(format!("{}{with}", listener.address));
    }
    if let Some(proxy) = &config.tf.proxy {
        return format!(
            "configuration ok: proxy to {} on {}",
            proxy.backend,
            listen.join(" ")
        );
    }
    let mode = match config.server.mode {
        Mode::SingleUser => "single-user",
        Mode::MultiUser => "multi-user",
    };
    let served_as = match config.server.mode {
        Mode::SingleUser => config
            .server
            .user
            .as_deref()
            .unwrap_or("the user who starts tfd"),
        Mode::MultiUser => "the system user of each account",
    };
    let jail = if config.server.jail { ", in jails" } else { "" };
    format!(
        "configuration ok: {} on {}, {mode}{jail}, as {served_as}",
        config.server.root.display(),
        listen.join(" "),
    )
}
