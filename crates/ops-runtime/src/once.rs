//! The database for a program that carries out one order and ends: no waiting for a server that is down.

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use store_support::{Database, DatabaseSettings, DatabaseUrl};

use crate::settings::Settings;

/// Connects and migrates, once.
///
/// # Errors
/// When the database cannot be reached or its address cannot be read; neither says the password.
pub async fn connect_once(settings: &Settings) -> anyhow::Result<Database> {
    let url = match &settings.database_url {
        None => DatabaseUrl::embedded(&settings.data_dir),
        Some(url) => DatabaseUrl::parse(url.expose_secret()).context("MYSQL_DSN")?,
    };
    let shown = url.shown();
    let mut database_settings = DatabaseSettings::new(url);
    database_settings.max_connections = 2;
    let database = Database::connect(&database_settings)
        .await
        .with_context(|| format!("the database {shown} is not available"))?;
    if let Err(error) = migrations::run(database.connection()).await {
        database.close().await;
        return Err(error).with_context(|| format!("the database {shown} cannot be migrated"));
    }
    Ok(database)
}
