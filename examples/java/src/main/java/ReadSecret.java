import com.azure.core.credential.TokenCredential;
import com.azure.identity.DefaultAzureCredentialBuilder;
import com.azure.identity.ManagedIdentityCredentialBuilder;
import com.azure.security.keyvault.secrets.SecretClient;
import com.azure.security.keyvault.secrets.SecretClientBuilder;

/**
 * Reads one secret with the identity of the host it runs on. Knows nothing of where it runs.
 *
 * <pre>java ReadSecret https://&lt;vault&gt;.vault.azure.net &lt;secret name&gt; [client id of a user-assigned identity]</pre>
 */
public final class ReadSecret {
    private ReadSecret() {}

    public static void main(String[] arguments) {
        TokenCredential credential = arguments.length > 2
            ? new ManagedIdentityCredentialBuilder().clientId(arguments[2]).build()
            : new DefaultAzureCredentialBuilder().build();
        SecretClient client = new SecretClientBuilder().vaultUrl(arguments[0]).credential(credential).buildClient();
        try {
            System.out.println(client.getSecret(arguments[1]).getValue());
        } catch (RuntimeException failure) {
            System.err.println(failure.getClass().getSimpleName() + ": " + failure.getMessage());
            System.exit(1);
        }
        System.exit(0);
    }
}
