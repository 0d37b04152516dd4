//! Tests the benchmark's report, from raw results to the document, and its other pure parts, without a measurement.

#[path = "proxies/configs.rs"]
mod configs;
mod figures;
mod report;
mod results;

use std::collections::BTreeMap;

use results::{
    Attempt, Build, Cell, Conditions, Cost, DataPlane, Idle, Lost, Measured, Proxy, Results, Sample, Takeover, Traffic,
    Who, Zone, ZoneLoss, save,
};

fn measured<T>(data: T) -> Measured<T> {
    let conditions = Conditions {
        cores: 4,
        processor: "Fast".into(),
        memory_gb: 16,
        kernel: "6.1".into(),
        agent: Build::Dist,
        load: 0.25,
        seconds: 120.0,
        quick: false,
    };
    Measured { conditions, data }
}

fn results() -> Results {
    let cell =
        |who, seconds: f64| Cell { who, tables: 20, throttled: false, attempts: vec![Attempt { seconds, moved: 20 }] };
    let cells = vec![cell(Who::Floor, 0.15), cell(Who::Agent, 0.18), cell(Who::Loop, 18.0), cell(Who::MoveIp, 72.0)];
    let loss =
        |tables, outages: &[f64]| ZoneLoss { tables, outages: outages.to_vec(), serving_nodes: 30.0, throttled: 9 };
    let sample = |traffic, proxy, requests_a_second: f64| Sample {
        round: 0,
        traffic,
        proxy,
        requests: 50_000,
        failed: 0,
        requests_a_second,
        p50: 0.004,
        p99: 0.012,
        proxy_cpu: Some(2.0).filter(|_| proxy != Proxy::Direct),
        machine_cpu: 9.5,
    };
    let cost = Cost {
        calls: BTreeMap::from([("DescribeInstances".to_owned(), 20)]),
        agent_cpu: 0.6,
        keepalived_cpu: 3.0,
        rss_kb: 9000,
        peak_kb: 9500,
    };
    Results {
        takeover: vec![measured(Takeover { latency_ms: 50, cells })],
        lost: Some(measured(Lost {
            latency_ms: 100,
            tables: 3,
            elbow: vec![0.7, 0.9, 0.8],
            tuned: vec![1.7, 1.9, 1.8],
            original: vec![4.0, 5.0, 6.0],
        })),
        zone: Some(measured(Zone {
            latency_ms: 100,
            tables: 20,
            burst: 50,
            refill: 5.0,
            all: loss(20, &[1.0, 20.0]),
            named: loss(2, &[0.8, 0.9]),
        })),
        idle: Some(measured(Idle { seconds: 600.0, active: cost.clone(), standby: cost })),
        data_plane: Some(measured(DataPlane {
            seconds: 5.0,
            addresses: 8,
            connections: 8,
            samples: vec![
                sample(Traffic::KeepAlive, Proxy::Elbow, 9900.0),
                sample(Traffic::KeepAlive, Proxy::Minimal, 10_000.0),
                sample(Traffic::KeepAlive, Proxy::MinimalWithHeaders, 9000.0),
                sample(Traffic::KeepAlive, Proxy::Direct, 30_000.0),
                sample(Traffic::KeepAlive, Proxy::Large, 6600.0),
                sample(Traffic::NewConnections, Proxy::Elbow, 4000.0),
                sample(Traffic::NewConnections, Proxy::WithoutSecondChance, 5000.0),
            ],
        })),
    }
}

#[test]
fn every_section_has_its_figures() {
    let files = report::render(&results()).unwrap();
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["bench.md", "bench-takeover.svg", "bench-lost.svg", "bench-zone.svg", "bench-data-plane.svg"]);
    for line in [
        "| 20 | – | 0.150 (0.150, 1) | 0.180 (0.180, 1) | 1.20× | 18.0 (18.0, 1) | 100× | 72.0 (72.0, 1) | 400× |",
        "| Elbow | 0.800 | – | 0.700 | 0.900 | 3 |",
        "| keepalived, tuned | 1.80 | – | 1.70 | 1.90 | 3 |",
        "| the original's settings | 5.00 | – | 4.00 | 6.00 | 3 |",
        "| `\"all\"` | 20 | 1.00 | 10.5 | 20.0 | 30.0 | 9 |",
        "| active | 2.0 | 0.10 % | 0.50 % | 9.0 MB | 9.5 MB |",
        "| `DescribeInstances` | 10.00 | 50 % of 20 |",
        "0 of 350000 requests failed.",
        "| Elbow | 9900 | 4.00 | 12.0 | 40.0 | – | – | – |",
        "| minimal HAProxy | 10000 | 4.00 | 12.0 | 40.0 | 0.990 | 0.990 | 0.990 |",
        "| minimal, with headers | 9000 | 4.00 | 12.0 | 40.0 | 1.10 | 1.10 | 1.10 |",
        "| direct | 30000 | 4.00 | 12.0 | – | 0.330 | 0.330 | 0.330 |",
        "(with TCP there are none): **missed**: new connections, TCP.",
        "| keep-alive: large | 6600 | 12.0 | 40.0 | 190 | 0.667 | 0.667 | 0.667 |",
        "| new connections: without the second chance | 5000 | 12.0 | 40.0 | 190 | 1.25 | 1.25 | 1.25 |",
        "| `takeover-50` | 2 min | 0.25 | shipped |",
        "| `data-plane` | 2 min | 0.25 | shipped |",
    ] {
        assert!(files[0].1.contains(line), "{line} isn't in\n{}", files[0].1);
    }
    for (name, _) in &files[1..] {
        assert!(files[0].1.contains(&format!("({name})")), "the document doesn't show {name}");
    }
}

#[test]
fn sections_without_results_are_named() {
    let files = report::render(&Results { zone: None, ..results() }).unwrap();
    assert!(files[0].1.contains("Not measured yet: `zone`."), "{}", files[0].1);
    let error = report::render(&Results::default()).unwrap_err();
    assert_eq!(error.to_string(), "nothing has been measured yet: run `make bench`");
}

#[test]
fn saved_results_are_read_back_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let results = results();
    save(folder.path(), "takeover-50", &results.takeover[0]).unwrap();
    save(folder.path(), "lost", results.lost.as_ref().unwrap()).unwrap();
    save(folder.path(), "zone", results.zone.as_ref().unwrap()).unwrap();
    save(folder.path(), "idle", results.idle.as_ref().unwrap()).unwrap();
    save(folder.path(), "data-plane", results.data_plane.as_ref().unwrap()).unwrap();
    assert_eq!(Results::read(folder.path()).unwrap(), results);
}
