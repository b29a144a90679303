int greet(const char *name);

int main(void)
{
    return greet("JUnit");
}
