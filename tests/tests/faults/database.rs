//! PostgreSQL is killed.

use tests::processes::{Account, Database, Ground, ProcessFarm, Setup, rounds};
use tokio::time::sleep;

use crate::{JOBS, moment};

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_killed_and_no_job_notices() {
    for _ in 0..rounds() {
        let Some(ground) = Ground::shared() else { return };
        let mut database = Database::started().await;
        let mut farm = ProcessFarm::new(ground.with_database(database.url()), Setup::default()).await;
        farm.start().await;
        farm.push("apple", "1").await;
        farm.many_at_work("s", JOBS).await;
        // Back at once, in the middle of everything.
        for _ in 0..2 {
            database.kill();
            database.start().await;
            moment().await;
        }
        database.kill();
        sleep(farm.lease() * 9 / 4).await;
        database.start().await;
        sleep(farm.lease() / 2).await;
        farm.scratch("quick-one").await;
        farm.land.yard.go();
        moment().await;
        // And once more while everybody reports.
        database.kill();
        moment().await;
        database.start().await;
        let figures = farm.ends_well("database killed", Account::default()).await;
        assert_eq!((figures.reruns, figures.lost), (0, 0));
    }
}
