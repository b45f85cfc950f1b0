//! lvs.cf written by the daemon for a client, as the web tool has it done, while clients go on asking.

use anyhow::{Context, Result, ensure};
use lb_tests::{
    Family, Method, Plan, Service, Site, Stage,
    client::{self, all_good, shares},
    director::SOCKET,
    on_stage,
};
use serde_json::{Value, json};

const FAMILY: Family = Family::V4;

/// Asks the daemon: the status of its answer, and what it says.
fn ask(stage: &Stage, method: &str, path: &str, body: &Value) -> Result<(u16, Value)> {
    let router = stage.network.router();
    router.write("/run/question.json", &body.to_string())?;
    let url = format!("http://lb{path}");
    let answer = router.run(
        "curl",
        [
            "-sS",
            "--max-time",
            "20",
            "--unix-socket",
            SOCKET,
            "-X",
            method,
            "-H",
            "lb-on-behalf-of: ada",
            "--data-binary",
            "@/run/question.json",
            "-w",
            "\n%{http_code}",
            &url,
        ],
    )?;
    let (said, status) = answer.trim_end().rsplit_once('\n').context("no status")?;
    let said = serde_json::from_str(said).with_context(|| format!("{method} {path}: {said}"))?;
    Ok((status.parse()?, said))
}

#[test]
fn a_file_is_written_and_in_force_and_of_two_the_second_is_told() {
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Nat);
        let site = Site::new(Method::Nat).with(Service::web(FAMILY, 2));
        let stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        answered_by(&stage, &["rs1", "rs2"])?;

        let (_, now) = ask(&stage, "GET", "/v1/config", &Value::Null)?;
        ensure!(now["loaded"] == true, "{now}");
        let text = now["text"].as_str().context("no text")?;
        let one = Site::new(Method::Nat)
            .with(Service::web(FAMILY, 1))
            .to_string();
        ensure!(text == site.to_string(), "{text}");

        // What it would change is told, and nothing is changed by that.
        let (status, examined) = ask(&stage, "POST", "/v1/config/check", &json!({"text": one}))?;
        let reload = &examined["comparison"]["reload"];
        ensure!(
            status == 200 && reload[0]["kind"] == "removed",
            "{status} {examined}"
        );
        answered_by(&stage, &["rs1", "rs2"])?;

        let wish = json!({"text": one, "based_on": now["version"], "reload": true});
        let (status, done) = ask(&stage, "PUT", "/v1/config", &wish)?;
        ensure!(
            status == 200 && done["steps"][2]["done"] == true,
            "{status} {done}"
        );
        answered_by(&stage, &["rs1"])?;
        let (_, now) = ask(&stage, "GET", "/v1/config", &Value::Null)?;
        ensure!(
            now["loaded"] == true && now["version"] == done["version"],
            "{now}"
        );
        let events = stage
            .director
            .lb(["events", "--socket", SOCKET, "-n", "5"])?;
        ensure!(
            events.contains("written") && events.contains("for ada"),
            "{events}"
        );

        // Another was made of what was before.
        let (status, refused) = ask(&stage, "PUT", "/v1/config", &wish.clone())?;
        ensure!(
            status == 409 && refused["version"] == done["version"],
            "{status} {refused}"
        );

        // A file that the machine does not take is written, and everything stays as it was.
        let nowhere = one.replace("eth0", "nowhere0");
        ensure!(nowhere != one, "{one}");
        let wish = json!({"text": nowhere, "based_on": done["version"], "reload": true});
        let (status, done) = ask(&stage, "PUT", "/v1/config", &wish)?;
        let last = &done["steps"][2];
        ensure!(status == 200 && last["done"] == false, "{status} {done}");
        let said = last["text"].as_str().unwrap_or_default();
        ensure!(said.contains("nowhere0"), "{done}");
        let (_, now) = ask(&stage, "GET", "/v1/config", &Value::Null)?;
        ensure!(now["loaded"] == false, "{now}");
        answered_by(&stage, &["rs1"])?;

        // And back to the first version.
        let (_, kept) = ask(&stage, "GET", "/v1/config/versions", &Value::Null)?;
        ensure!(
            kept["versions"]
                .as_array()
                .is_some_and(|all| all.len() == 2),
            "{kept}"
        );
        let (_, first) = ask(&stage, "GET", "/v1/config/versions/1", &Value::Null)?;
        let wish = json!({"text": first["text"], "based_on": done["version"], "reload": true});
        let (status, done) = ask(&stage, "PUT", "/v1/config", &wish)?;
        ensure!(
            status == 200 && done["steps"][2]["done"] == true,
            "{status} {done}"
        );
        stage.await_servers()?;
        answered_by(&stage, &["rs1", "rs2"])
    });
}

#[test]
fn a_real_server_is_tried_by_hand() {
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Nat);
        let site = Site::new(Method::Nat).with(Service::web(FAMILY, 2));
        let stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        let name = site.services[0].name.clone();
        let running = json!({"service": name, "server": "rs1"});
        let (status, tried) = ask(&stage, "POST", "/v1/probe", &running)?;
        ensure!(status == 200 && tried["well"] == true, "{status} {tried}");
        let steps = tried["steps"].as_array().context("no steps")?;
        ensure!(
            steps.iter().any(|step| step["text"] == "connected"),
            "{tried}"
        );

        // As it would be with another port, which nobody listens at.
        let text = site.to_string().replace("active = 1", "active = 0");
        let text = text.replacen("server rs1 {", "check_port = 9\nserver rs1 {", 1);
        let place = format!("virtual/{name}/server/rs1");
        let draft = json!({"text": text, "place": place});
        let (status, tried) = ask(&stage, "POST", "/v1/probe", &draft)?;
        ensure!(status == 200 && tried["well"] == false, "{status} {tried}");
        let said = tried["outcome"]["text"].as_str().unwrap_or_default();
        ensure!(said.contains(":9: connection refused"), "{tried}");
        let unknown = json!({"service": name, "server": "rs9"});
        let (status, refused) = ask(&stage, "POST", "/v1/probe", &unknown)?;
        ensure!(status == 404, "{status} {refused}");
        answered_by(&stage, &["rs1", "rs2"])
    });
}

fn answered_by(stage: &Stage, names: &[&str]) -> Result<()> {
    let answers = client::get_many(&stage.network.client, &FAMILY.url(), 40, 4)?;
    all_good(&answers)?;
    let shares = shares(&answers);
    ensure!(shares.keys().eq(names), "{shares:?} instead of {names:?}");
    Ok(())
}
