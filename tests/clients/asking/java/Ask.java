// `Ask SELECTORS`: azure-identity for Java, as `azure_identity.py`. Reads and writes its little JSON by hand.
import com.azure.core.credential.AccessToken;
import com.azure.core.credential.TokenRequestContext;
import com.azure.identity.ManagedIdentityCredentialBuilder;
import com.azure.identity.WorkloadIdentityCredentialBuilder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

public class Ask {
    private static final Pattern SELECTOR = Pattern.compile("null|\\[\\s*\"([^\"]*)\"\\s*,\\s*\"([^\"]*)\"\\s*\\]");

    public static void main(String[] arguments) {
        List<String> answers = new ArrayList<>();
        Matcher selectors = SELECTOR.matcher(arguments[0]);
        while (selectors.find()) {
            answers.add(ask(selectors.group(1), selectors.group(2)));
        }
        System.out.println("[" + String.join(",", answers) + "]");
        System.exit(0);
    }

    private static String ask(String kind, String value) {
        try {
            ManagedIdentityCredentialBuilder builder = new ManagedIdentityCredentialBuilder().maxRetry(0);
            if ("client_id".equals(kind)) {
                builder.clientId(value);
            } else if ("object_id".equals(kind)) {
                builder.objectId(value);
            } else if ("resource_id".equals(kind)) {
                builder.resourceId(value);
            }
            TokenRequestContext wanted = new TokenRequestContext().addScopes("https://vault.azure.net/.default");
            AccessToken token;
            if (System.getenv("AZURE_FEDERATED_TOKEN_FILE") != null) {
                WorkloadIdentityCredentialBuilder workload = new WorkloadIdentityCredentialBuilder().maxRetry(0);
                if ("client_id".equals(kind)) {
                    workload.clientId(value);
                }
                token = workload.build().getTokenSync(wanted);
            } else {
                token = builder.build().getTokenSync(wanted);
            }
            String claims = new String(
                Base64.getUrlDecoder().decode(token.getToken().split("\\.")[1]), StandardCharsets.UTF_8);
            return "{\"claims\":" + claims + ",\"expires_on\":" + token.getExpiresAt().toEpochSecond() + "}";
        } catch (Exception error) {
            String name = error.getClass().getSimpleName();
            return "{\"error\":" + quoted(name) + ",\"text\":" + quoted(String.valueOf(error.getMessage())) + "}";
        }
    }

    private static String quoted(String text) {
        StringBuilder made = new StringBuilder("\"");
        for (char letter : text.toCharArray()) {
            if (letter == '"' || letter == '\\' || letter < ' ') {
                made.append(String.format("\\u%04x", (int) letter));
            } else {
                made.append(letter);
            }
        }
        return made.append('"').toString();
    }
}
