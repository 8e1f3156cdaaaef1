# `curl.sh DIALECT [KIND VALUE]`: one token request as the documentation of each endpoint writes it; prints the body.
set -eu
dialect=$1 kind=${2-} value=${3-}
resource='resource=https%3A%2F%2Fvault.azure.net'
ask() { curl -sS "$@"; }
case $dialect in
  imds)
    base=${AZURE_POD_IDENTITY_AUTHORITY_HOST-http://169.254.169.254}
    name=$kind; [ "$kind" != resource_id ] || name=msi_res_id
    ask -H Metadata:true "$base/metadata/identity/oauth2/token?api-version=2018-02-01&$resource${kind:+&$name=$value}" ;;
  vm-extension)
    name=$kind; [ "$kind" != resource_id ] || name=mi_res_id
    ask -H Metadata:true --data "$resource${kind:+&$name=$value}" "$MSI_ENDPOINT" ;;
  app-service-2019)
    name=$kind; [ "$kind" != object_id ] || name=principal_id; [ "$kind" != resource_id ] || name=mi_res_id
    ask -H "X-IDENTITY-HEADER: $IDENTITY_HEADER" "$IDENTITY_ENDPOINT?api-version=2019-08-01&$resource${kind:+&$name=$value}" ;;
  app-service-2017)
    ask -H "Secret: $MSI_SECRET" "$MSI_ENDPOINT?api-version=2017-09-01&$resource${kind:+&clientid=$value}" ;;
  azure-ml)
    ask -H "secret: $MSI_SECRET" "$MSI_ENDPOINT?api-version=2017-09-01&$resource&clientid=${value:-${DEFAULT_IDENTITY_CLIENT_ID-}}" ;;
  service-fabric)
    ask --insecure -H "Secret: $IDENTITY_HEADER" "$IDENTITY_ENDPOINT?api-version=$IDENTITY_API_VERSION&$resource" ;;
  arc)
    name=$kind; [ "$kind" != resource_id ] || name=msi_res_id
    url="$IDENTITY_ENDPOINT?api-version=2020-06-01&$resource${kind:+&$name=$value}"
    file=$(curl -sS -D - -o /dev/null -H Metadata:true "$url" | tr -d '\r' | sed -n 's/^[Ww]*-[Aa]uthenticate: Basic realm=//p')
    ask -H Metadata:true -H "Authorization: Basic $(cat "$file")" "$url" ;;
  cloud-shell)
    ask -H Metadata:true --data "$resource" "$MSI_ENDPOINT" ;;
  workload-identity)
    ask --data-urlencode "client_assertion@$AZURE_FEDERATED_TOKEN_FILE" \
      --data-urlencode client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer \
      --data-urlencode "client_id=${value:-$AZURE_CLIENT_ID}" --data-urlencode grant_type=client_credentials \
      --data-urlencode scope=https://vault.azure.net/.default "${AZURE_AUTHORITY_HOST}$AZURE_TENANT_ID/oauth2/v2.0/token" ;;
esac
