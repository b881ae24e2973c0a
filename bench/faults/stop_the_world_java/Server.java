import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executors;

/**
 * An HTTP server with a cache of some 60 MB, which replaces 300 entries for each request.
 * The variants differ in the heap: see fault.toml. usage: Server PORT
 */
public class Server {
  static final List<int[]> cache = new ArrayList<>();

  public static void main(String[] arguments) throws Exception {
    for (int i = 0; i < 600_000; i++) cache.add(new int[20]);
    System.gc();  // moves the cache into the old generation
    // Otherwise the JDK's server sends head and body separately, and waits for an ACK in between.
    System.setProperty("sun.net.httpserver.nodelay", "true");
    int port = Integer.parseInt(arguments[0]);
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 128);
    server.setExecutor(Executors.newFixedThreadPool(8));
    server.createContext("/", exchange -> {
      for (int i = 0; i < 300; i++) cache.set((int) (Math.random() * cache.size()), new int[20]);
      byte[] reply = "hello\n".getBytes();
      exchange.sendResponseHeaders(200, reply.length);
      exchange.getResponseBody().write(reply);
      exchange.close();
    });
    server.start();
  }
}
