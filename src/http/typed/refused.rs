//! A handler's error: a [`Refusal`] that the document knows. The type says with which statuses an operation refuses and how
//! the bodies look; they are rendered where all errors are ([`crate::http::errors`]).

use std::marker::PhantomData;

use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;

use crate::http::refusal::Refusal;

/// With what an operation refuses, for the document.
pub trait Refusals: Send + Sync + 'static {
    /// The dialect's error body.
    type Body: Type;
    const CONTENT_TYPE: &'static str = "application/json";
    /// Status and reason.
    const ANSWERS: &'static [(u16, &'static str)];
}

/// The error of an operation; made by `?` of a [`Refusal`], of a [`crate::fault::Fault`], of what a dialect converts to a refusal.
pub struct Refused<R> {
    refusal: Refusal,
    documented_as: PhantomData<fn() -> R>,
}

impl<R, E: Into<Refusal>> From<E> for Refused<R> {
    fn from(error: E) -> Self {
        Self { refusal: error.into(), documented_as: PhantomData }
    }
}

impl<R> From<Refused<R>> for poem::Error {
    fn from(refused: Refused<R>) -> Self {
        refused.refusal.into()
    }
}

impl<R: Refusals> ApiResponse for Refused<R> {
    fn meta() -> MetaResponses {
        let responses = R::ANSWERS.iter().map(|(status, description)| MetaResponse {
            description,
            status: Some(*status),
            status_range: None,
            content: vec![MetaMediaType { content_type: R::CONTENT_TYPE, schema: R::Body::schema_ref() }],
            headers: vec![],
        });
        MetaResponses { responses: responses.collect() }
    }

    fn register(registry: &mut Registry) {
        R::Body::register(registry);
    }
}

#[cfg(test)]
mod tests {
    use poem::Endpoint;
    use poem_openapi::{Object, OpenApi, OpenApiService};

    use super::*;
    use crate::http::routes::Routes;
    use crate::http::typed::Json;

    #[derive(Object)]
    struct Detail {
        detail: String,
    }

    struct Answers;

    impl Refusals for Answers {
        type Body = Detail;
        const ANSWERS: &'static [(u16, &'static str)] = &[(404, "There is none.")];
    }

    struct Api;

    #[OpenApi]
    impl Api {
        #[oai(path = "/x", method = "get")]
        async fn get(&self) -> Result<Json<String>, Refused<Answers>> {
            Err(Refusal::not_found("no"))?
        }
    }

    #[tokio::test]
    async fn is_documented_and_stays_a_refusal() {
        let document: serde_json::Value = serde_json::from_str(&OpenApiService::new(Api, "", "").spec()).unwrap();
        let answer = &document["paths"]["/x"]["get"]["responses"]["404"];
        assert_eq!(answer["description"], "There is none.");
        assert_eq!(answer["content"]["application/json"]["schema"]["$ref"], "#/components/schemas/Detail");

        let routes = Routes::new().api(Api).build().unwrap();
        let error = routes.call(poem::Request::builder().uri_str("/x").finish()).await.unwrap_err();
        assert_eq!(error.downcast::<Refusal>().unwrap().message, "no");
    }
}
