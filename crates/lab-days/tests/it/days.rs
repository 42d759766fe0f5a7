//! A thousand days, in ten parts that run beside each other.

use lab_days::{Options, run_day};

/// Days in one part.
const PART: u64 = 100;

fn part(number: u64) {
    let mut broken = Vec::new();
    for seed in number * PART..(number + 1) * PART {
        let day = run_day(seed, &Options::default()).unwrap();
        broken.extend(
            day.violations
                .iter()
                .map(|violation| format!("seed {seed}: {violation}")),
        );
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

macro_rules! parts {
    ($($name:ident = $number:expr;)*) => {
        $(
            #[test]
            fn $name() {
                part($number);
            }
        )*
    };
}

parts! {
    days_0_to_99_keep_every_promise = 0;
    days_100_to_199_keep_every_promise = 1;
    days_200_to_299_keep_every_promise = 2;
    days_300_to_399_keep_every_promise = 3;
    days_400_to_499_keep_every_promise = 4;
    days_500_to_599_keep_every_promise = 5;
    days_600_to_699_keep_every_promise = 6;
    days_700_to_799_keep_every_promise = 7;
    days_800_to_899_keep_every_promise = 8;
    days_900_to_999_keep_every_promise = 9;
}
