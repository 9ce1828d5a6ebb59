import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command line tools in one JVM, because a JVM takes seconds to start.
 *
 * A line of the input is "ID class arguments…", separated by unit separators; the tool's input
 * is the argument after "<". Each runs in a thread of its own, and so do those after it. When
 * it ends, the output holds a line "ID code size" and then what the tool printed.
 */
public class Tools {
    static final InheritableThreadLocal<Run> running = new InheritableThreadLocal<>();
    static final PrintStream answers = System.out;

    /** A tool that runs, with all its threads. */
    static class Run {
        final ByteArrayOutputStream printed = new ByteArrayOutputStream();
        InputStream given = InputStream.nullInputStream();
        int code;
        boolean exited; // then it prints nothing more: it may have caught what exit throws

        synchronized void exit(int code, String message) {
            if (message != null && !exited) System.out.println(message);
            if (!exited) this.code = code;
            exited = true;
            throw new Error("exited");
        }

        synchronized void print(byte[] b, int off, int len) {
            if (!exited) printed.write(b, off, len);
        }
    }

    public static void main(String[] args) throws Exception {
        PrintStream split = new PrintStream(new OutputStream() {
            public void write(int b) {
                write(new byte[] {(byte) b}, 0, 1);
            }

            public void write(byte[] b, int off, int len) {
                if (running.get() != null) running.get().print(b, off, len);
            }
        }, true);
        InputStream commands = System.in;
        System.setOut(split);
        System.setErr(split);
        System.setIn(new InputStream() {
            public int read() throws java.io.IOException {
                return running.get().given.read();
            }

            public int read(byte[] b, int off, int len) throws java.io.IOException {
                return running.get().given.read(b, off, len);
            }
        });
        Exit.setExitProcedure((code, message) -> running.get().exit(code, message));
        Exit.setHaltProcedure((code, message) -> running.get().exit(code, message));
        Exit.setShutdownHookAdder((name, hook) -> { });
        var lines = new BufferedReader(new InputStreamReader(commands, StandardCharsets.UTF_8));
        for (String line; (line = lines.readLine()) != null; ) {
            String[] words = line.split("\u001f", -1);
            new Thread(() -> run(words)).start();
        }
        Runtime.getRuntime().halt(0);
    }

    static void run(String[] words) {
        var run = new Run();
        running.set(run);
        String[] args = Arrays.copyOfRange(words, 2, words.length);
        int at = Arrays.asList(args).indexOf("<");
        if (at >= 0) {
            run.given = new ByteArrayInputStream(args[at + 1].replace('\u001e', '\n').getBytes(StandardCharsets.UTF_8));
            args = Arrays.copyOf(args, at);
        }
        try {
            Class.forName(words[1]).getMethod("main", String[].class).invoke(null, (Object) args);
        } catch (ReflectiveOperationException e) {
            if (!run.exited) {
                e.printStackTrace(System.err);
                run.code = 1;
            }
        }
        synchronized (answers) {
            byte[] text = run.printed.toByteArray();
            answers.println(words[0] + " " + run.code + " " + text.length);
            answers.write(text, 0, text.length);
            answers.flush();
        }
    }
}
