// `validatorUrl`: by default Swagger UI has a server on the internet look at the document.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
