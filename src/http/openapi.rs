//! The OpenAPI document: put together from the typed APIs, mended where poem-openapi's output misleads generators of
//! clients, and served as JSON and as Swagger UI without any outside host.

use std::collections::HashMap;
use std::marker::PhantomData;

use bytes::Bytes;
use poem::endpoint::{BoxEndpoint, make_sync};
use poem::http::{Method, StatusCode, header};
use poem::{Endpoint, Response};
use poem_openapi::registry::{MetaApi, Registry};
use poem_openapi::{OpenApi, OpenApiService};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use super::routes::Routes;

pub const TITLE: &str = "Tidegate";

/// The order in which people read a document; serde_json sorts what it holds.
const ORDER: [&str; 7] = ["openapi", "info", "servers", "tags", "paths", "components", "externalDocs"];

/// Collects the parts of the document.
#[derive(Default)]
pub struct DocumentBuilder {
    parts: Vec<String>,
    edits: Vec<fn(&mut Value)>,
}

/// Two APIs give one name to two things.
#[derive(Debug, thiserror::Error)]
#[error("the document has two different {kind} named `{name}`")]
pub struct DocumentConflict {
    pub kind: &'static str,
    pub name: String,
}

impl DocumentBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    /// The operations of a typed API. Its type says all; no instance is needed.
    #[must_use]
    pub fn api<T: OpenApi>(mut self) -> Self {
        self.parts.push(OpenApiService::new(DocumentOnly::<T>(PhantomData), TITLE, version()).spec());
        self
    }

    /// A last change to the finished document, as examples by status: see [`set_response_example`].
    #[must_use]
    pub fn edit(mut self, edit: fn(&mut Value)) -> Self {
        self.edits.push(edit);
        self
    }

    /// `server_url` is what generated clients call when they are told nothing else.
    pub fn finish(self, description: &str, server_url: &str) -> Result<Document, DocumentConflict> {
        let mut document = json!({
            "openapi": "3.0.0",
            "info": {
                "title": TITLE,
                "version": version(),
                "description": description,
                "license": { "name": env!("CARGO_PKG_LICENSE") },
            },
            "servers": [{ "url": server_url }],
            "tags": [],
            "paths": {},
            "components": {},
        });
        for part in self.parts {
            // It was just written by serde_json; an API without anything would be the same as none.
            let part: Value = serde_json::from_str(&part).unwrap_or_default();
            merge(&mut document, part)?;
        }
        mend(&mut document);
        for edit in self.edits {
            edit(&mut document);
        }
        Ok(Document(document))
    }
}

/// The finished document.
#[derive(Debug, Clone)]
pub struct Document(Value);

impl Document {
    pub fn to_json(&self) -> String {
        self.0.to_string()
    }

    /// The same text every time, in the order in which people read it.
    pub fn to_yaml(&self) -> Result<String, serde_yaml::Error> {
        serde_yaml::to_string(self)
    }

    pub fn as_value(&self) -> &Value {
        &self.0
    }

    /// Swagger UI with everything in one page.
    pub fn swagger_ui(&self) -> String {
        let service = OpenApiService::new((), TITLE, version());
        // `</script>` in a description would end the page's script.
        service.swagger_ui_html().replace(&service.spec(), &self.to_json().replace("</", "<\\/"))
    }

    /// `/openapi.json`, `/openapi.yaml` and Swagger UI at `/docs`.
    pub fn serve(&self, routes: Routes) -> Result<Routes, serde_yaml::Error> {
        let docs = Bytes::from(self.swagger_ui());
        Ok(routes
            .at("/openapi.json", Method::GET, fixed("application/json", self.to_json().into()))
            .at("/openapi.yaml", Method::GET, fixed("application/yaml", self.to_yaml()?.into()))
            .at("/docs", Method::GET, fixed("text/html; charset=utf-8", docs.clone()))
            .at("/docs/", Method::GET, fixed("text/html; charset=utf-8", docs)))
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for key in ORDER {
            if let Some(value) = self.0.get(key) {
                map.serialize_entry(key, value)?;
            }
        }
        map.end()
    }
}

/// An example of the body that answers with `status`. Does nothing where the document has no such answer.
pub fn set_response_example(document: &mut Value, method: &str, path: &str, status: u16, example: Value) {
    let status = status.to_string();
    let content =
        operation(document, method, path).and_then(|o| o.get_mut("responses")?.get_mut(status)?.get_mut("content"));
    set_example(content, example);
}

/// An example of the request's body, for each content type that it may have.
pub fn set_request_example(document: &mut Value, method: &str, path: &str, example: Value) {
    let content = operation(document, method, path).and_then(|o| o.get_mut("requestBody")?.get_mut("content"));
    set_example(content, example);
}

fn operation<'a>(document: &'a mut Value, method: &str, path: &str) -> Option<&'a mut Value> {
    document.get_mut("paths")?.get_mut(path)?.get_mut(method)
}

fn set_example(content: Option<&mut Value>, example: Value) {
    let media_types = content.and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut);
    for media_type in media_types {
        media_type["example"] = example.clone();
    }
}

/// A plain answer that never changes while the gateway runs.
pub fn fixed(content_type: &'static str, body: Bytes) -> impl Endpoint<Output = Response> + 'static {
    make_sync(move |_| Response::builder().header(header::CONTENT_TYPE, content_type).body(body.clone()))
}

fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

fn merge(document: &mut Value, part: Value) -> Result<(), DocumentConflict> {
    let Value::Object(mut part) = part else { return Ok(()) };
    if let (Some(tags), Some(Value::Array(more))) = (document["tags"].as_array_mut(), part.remove("tags")) {
        for tag in more {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
    }
    if let Some(Value::Object(paths)) = part.remove("paths") {
        for (path, methods) in paths {
            merge_object(&mut document["paths"][&path], methods, "operations", &path)?;
        }
    }
    if let Some(Value::Object(components)) = part.remove("components") {
        for (kind, entries) in components {
            merge_object(&mut document["components"][&kind], entries, "components", "")?;
        }
    }
    Ok(())
}

fn merge_object(into: &mut Value, from: Value, kind: &'static str, prefix: &str) -> Result<(), DocumentConflict> {
    if into.is_null() {
        *into = Value::Object(Map::new());
    }
    let (Value::Object(into), Value::Object(from)) = (into, from) else { return Ok(()) };
    for (name, value) in from {
        match into.get(&name) {
            Some(known) if *known != value => {
                return Err(DocumentConflict { kind, name: format!("{prefix} {name}").trim().to_owned() });
            }
            _ => into.insert(name, value),
        };
    }
    Ok(())
}

/// What poem-openapi writes and generators stumble over.
fn mend(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(content) = object.remove("application/json; charset=utf-8") {
                object.insert("application/json".to_owned(), content);
            }
            if let Some(Value::Object(responses)) = object.get_mut("responses") {
                describe(responses);
            }
            object.values_mut().for_each(mend);
        }
        Value::Array(array) => array.iter_mut().for_each(mend),
        _ => {}
    }
}

/// Every answer must have a description.
fn describe(responses: &mut Map<String, Value>) {
    for (status, response) in responses {
        if response["description"].as_str().is_none_or(str::is_empty) {
            let status = status.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
            response["description"] = status.and_then(|status| status.canonical_reason()).unwrap_or("Answer").into();
        }
    }
}

/// A typed API of which only the document is wanted.
struct DocumentOnly<T>(PhantomData<fn() -> T>);

impl<T: OpenApi> OpenApi for DocumentOnly<T> {
    fn meta() -> Vec<MetaApi> {
        T::meta()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn add_routes(self, _table: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {}
}

#[cfg(test)]
mod tests {
    use poem::Request;
    use poem_openapi::param::{Path, Query};
    use poem_openapi::{ApiResponse, Object};
    use serde::{Deserialize as De, Serialize as Ser};

    use super::*;
    use crate::http::refusal::Refusal;
    use crate::http::typed::{FieldKind, FormField, FormSchema, Json, Multipart, Nullable, Slashed};

    #[derive(Object, Ser, De)]
    struct Thing {
        /// Its name. </script>
        name: String,
        owner: Nullable<String>,
    }

    #[derive(ApiResponse)]
    #[allow(dead_code, reason = "only the document of it is looked at")]
    enum No {
        /// There is none.
        #[oai(status = 404)]
        NotFound(Json<Thing>),
    }

    struct Form;

    impl FormSchema for Form {
        const FIELDS: &'static [FormField] =
            &[FormField { name: "file", description: "The file.", kind: FieldKind::File, required: true }];
    }

    struct Api;

    #[OpenApi]
    impl Api {
        /// Get a thing
        #[oai(path = "/things/:id", method = "get", operation_id = "getThing")]
        async fn get(&self, id: Path<String>, owner: Query<Option<String>>) -> Result<Json<Thing>, No> {
            Ok(Json(Thing { name: id.0, owner: owner.0.into() }))
        }

        /// Put a thing
        #[oai(path = "/things/:id", method = "post", operation_id = "postThing")]
        async fn post(&self, id: Path<String>, mut form: Multipart<Form>) -> poem::Result<Json<Thing>> {
            let part = form.next_part().await?;
            Ok(Json(Thing { name: id.0, owner: Nullable(part.map(|part| part.name)) }))
        }
    }

    fn document() -> Document {
        DocumentBuilder::new()
            .api::<Slashed<Api>>()
            .edit(|document| {
                set_response_example(document, "get", "/things/{id}/", 404, json!({"name": "x", "owner": null}));
            })
            .finish("What it is.", "http://localhost:8000")
            .unwrap()
    }

    #[test]
    fn the_document_is_what_generators_want() {
        let document = document();
        let get = &document.as_value()["paths"]["/things/{id}/"]["get"];
        assert_eq!(get["responses"]["200"]["description"], "OK");
        assert_eq!(get["responses"]["404"]["description"], "There is none.");
        assert_eq!(get["responses"]["404"]["content"]["application/json"]["example"]["name"], "x");
        assert_eq!(document.as_value()["components"]["schemas"]["Thing"]["required"], json!(["name", "owner"]));
        assert_eq!(document.as_value()["components"]["schemas"]["Thing"]["properties"]["owner"]["nullable"], true);
        let post = &document.as_value()["paths"]["/things/{id}/"]["post"]["requestBody"]["content"];
        assert_eq!(post["multipart/form-data"]["schema"]["properties"]["file"]["format"], "binary");
        let yaml = document.to_yaml().unwrap();
        assert!(yaml.starts_with("openapi: 3.0.0\ninfo:\n"), "{yaml}");
        assert_eq!(yaml, self::document().to_yaml().unwrap());
    }

    #[test]
    fn swagger_ui_holds_the_edited_document_and_no_outside_host() {
        let page = document().swagger_ui();
        assert!(page.contains("\"getThing\""));
        assert!(!page.contains("Its name. </script>"));
        for marker in ["<script src=\"http", "<link", "src=\"//"] {
            assert!(!page.contains(marker), "{marker}");
        }
    }

    #[test]
    fn two_things_of_one_name_are_found() {
        struct Other;
        #[OpenApi]
        impl Other {
            #[oai(path = "/things/:id/", method = "get")]
            async fn get(&self) -> Json<String> {
                Json(String::new())
            }
        }
        // `/things/:id/` loses its slash in the document of the second, so they differ in the table alone.
        let alike = DocumentBuilder::new().api::<Api>().api::<Api>().finish("", "");
        assert!(alike.is_ok());
        let conflict = DocumentBuilder::new().api::<Api>().api::<Other>().finish("", "").unwrap_err();
        assert_eq!(conflict.name, "/things/{id} get");
    }

    #[tokio::test]
    async fn routes_answer_slashes_heads_and_wrong_methods() {
        let routes = Routes::new().api(Slashed(Api)).build().unwrap();
        let ask = async |method: Method, path: &str| {
            let response = routes.get_response(Request::builder().method(method).uri_str(path).finish()).await;
            let (status, allow) = (response.status(), response.header("allow").map(str::to_owned));
            (status.as_u16(), allow, response.into_body().into_string().await.unwrap())
        };
        for path in ["/things/7?owner=me", "/things/7/?owner=me"] {
            assert_eq!(ask(Method::GET, path).await, (200, None, r#"{"name":"7","owner":"me"}"#.to_owned()));
        }
        assert_eq!(ask(Method::HEAD, "/things/7").await, (200, None, String::new()));
        let allow = Some("GET, HEAD, OPTIONS, POST".to_owned());
        assert_eq!(ask(Method::OPTIONS, "/things/7").await, (204, allow, String::new()));
        let refused = routes.call(Request::builder().method(Method::PUT).uri_str("/things/7").finish()).await;
        let refusal = refused.unwrap_err().downcast::<Refusal>().unwrap();
        assert_eq!((refusal.status.as_u16(), refusal.headers.len()), (405, 1));
    }
}
