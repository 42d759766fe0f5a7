//! 1.2: `hosts.json`, as far as it shows from outside.

use serde_json::{Value, json};

use crate::harness::{Lab, awake, in_secs, reservations};
use crate::site::Site;
use store_support::test_support::TestDatabase;

async fn labelled(test: TestDatabase) -> std::sync::Arc<Site> {
    let change = |lab: Lab| {
        lab.write_catalog(|entries| {
            entries[0]["labs"] = json!([" Lab-A ", 7, "", "shared"]);
            entries[0]["room"] = json!("B-17");
            entries[0]["winrm_pass"] = json!("env:PASS_OF_THE_TEST");
            entries[1]["labs"] = json!(["SHARED"]);
        });
        let password = lab.sim(1).spec().password.clone();
        lab.with("PASS_OF_THE_TEST", password)
    };
    let site = Site::of(test, vec![awake(1), awake(2)], change).await;
    for (id, lab) in [("r-a", "lab-a"), ("r-7", "7"), ("r-s", "Shared "), ("r-b", "")] {
        reservations::book(site.database(), id, lab, in_secs(0), in_secs(60)).await;
    }
    site
}

async fn host_of(site: &Site, id: &str) -> Value {
    site.get(&format!("/api/reservations/timeline?reservationId={id}"))
        .await
        .expect(200)["host"]
        .clone()
}

walk! {
    labelled;

    async fn s1_2_labs_are_compared_trimmed_and_without_case_and_numbers_count_as_text(site) {
        for id in ["r-a", "r-7"] {
            assert_eq!(host_of(&site, id).await["name"], "lab-ws-01", "{id}");
        }
        assert_eq!(host_of(&site, "r-b").await["name"], Value::Null, "blanks are no lab");
    }

    async fn s1_2_of_several_hosts_with_one_lab_the_first_wins(site) {
        assert_eq!(host_of(&site, "r-s").await["name"], "lab-ws-01");
    }

    async fn s1_2_unknown_keys_are_kept_and_shown(site) {
        let config = host_of(&site, "r-a").await["config"].clone();
        assert_eq!(config["room"], "B-17");
        for (key, value) in [("wake_attempts", json!(3)), ("labstation_exe", json!(r"C:\LabStation\LabStation.exe"))] {
            assert_eq!(config[key], value, "{key}");
        }
    }

    async fn s1_2_a_password_may_come_from_a_variable_and_names_are_compared_without_case(site) {
        let body = json!({"host": "LAB-ws-01", "command": "status"});
        assert_eq!(site.post("/api/winrm", body).await.expect(200)["exit_code"], 0);
    }
}
